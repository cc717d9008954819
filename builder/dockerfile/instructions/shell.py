"""SHELL: sets what shell forms are passed to."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class Shell(NamedTuple):
    """SHELL as written: the decoded array, at least one word, never expanded."""

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    words: tuple[str, ...] = ()

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        parsed.flags({})
        words = parsed.exec_words
        if words is None and parsed.node.body:
            raise parsed.fail(
                "SHELL requires the arguments to be in JSON form",
                fix='write SHELL ["/bin/sh", "-c"]',
            )
        if not words:
            raise parsed.at_least_one()
        return cls(*parsed.head, words)
