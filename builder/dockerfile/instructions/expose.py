"""EXPOSE: tells of ports."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class Expose(NamedTuple):
    """EXPOSE: words in alphabetical order, each to be expanded and then split into words again."""

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    words: tuple[str, ...] = ()

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        parsed.flags({})
        if not parsed.node.body:
            raise parsed.at_least_one()
        return cls(*parsed.head, tuple(sorted(word.text for word in parsed.node.body)))
