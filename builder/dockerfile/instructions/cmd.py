"""CMD: sets what a container runs by default."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class Cmd(NamedTuple):
    """CMD as written, never expanded.

    In JSON form `words` holds the decoded array, else `text` the rest of the line as it is.
    """

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    text: str = ""
    words: tuple[str, ...] = ()
    is_json: bool = False
    is_json_broken: bool = False
    """The text begins like a JSON array but is none."""

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        parsed.flags({})
        words = parsed.exec_words
        is_json = words is not None
        return cls(*parsed.head, parsed.text, words or (), is_json, parsed.is_json_broken)
