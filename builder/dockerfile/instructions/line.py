"""What several instructions consist of: one text, a command in either form, or pairs."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class TextLine(NamedTuple):
    """An instruction whose only argument is the rest of the line."""

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    text: str = ""

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        return cls(*parsed.head, parsed.one_text())


class CommandLine(NamedTuple):
    """An instruction that names a command, never expanded.

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


class PairLine(NamedTuple):
    """An instruction that gives values to names, both still with their quotes, to be expanded.

    All words see the environment before the instruction. `is_legacy`: the form
    `NAME rest of the line`, one pair.
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
