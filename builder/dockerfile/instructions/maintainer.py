"""MAINTAINER: sets the author of the image."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class Maintainer(NamedTuple):
    """MAINTAINER as written: the rest of the line, never expanded."""

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    text: str = ""

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        return cls(*parsed.head, parsed.one_text())
