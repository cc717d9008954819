"""LABEL: sets labels of the image."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class Label(NamedTuple):
    """LABEL as written: names and values still hold their quotes.

    Both are to be expanded; all words see the environment before the instruction. `is_legacy`: the
    form `NAME rest of the line`, one pair.
    """

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    is_legacy: bool = False

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        return cls(*parsed.head, *parsed.named_pairs())
