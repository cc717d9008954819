"""ADD: like COPY, and also downloads, clones and unpacks."""

from typing import Self

from builder.dockerfile.flags import Kind
from builder.dockerfile.instructions.copying import FLAGS, Copying
from builder.dockerfile.parsed import Parsed

_FLAGS: dict[str, Kind] = {
    **FLAGS,
    "keep-git-dir": "boolean",
    "checksum": "text",
    "unpack": "boolean",
}


class Add(Copying):
    """ADD as written."""

    __slots__ = ()

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        return cls.read(parsed, parsed.flags(_FLAGS))
