"""WORKDIR: sets the working directory."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class Workdir(NamedTuple):
    """WORKDIR as written: the rest of the line, to be expanded."""

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    text: str = ""

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        return cls(*parsed.head, parsed.one_text())
