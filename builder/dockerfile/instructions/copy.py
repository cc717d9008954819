"""COPY: puts files of the context, a stage or an image into the stage."""

from typing import Self

from builder.dockerfile.flags import Kind
from builder.dockerfile.instructions.copying import FLAGS, Copying
from builder.dockerfile.parsed import Parsed

_FLAGS: dict[str, Kind] = {**FLAGS, "from": "text", "parents": "boolean"}


class Copy(Copying):
    """COPY as written."""

    __slots__ = ()

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        return cls.read(parsed, parsed.flags(_FLAGS))
