"""VOLUME: names directories that get a volume at run time."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class Volume(NamedTuple):
    """VOLUME as written: paths, each to be expanded."""

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    paths: tuple[str, ...] = ()
    is_json: bool = False

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        parsed.flags({})
        words = parsed.words()
        if not words:
            raise parsed.at_least_one()
        if not all(word.strip() for word in words):
            raise parsed.fail(
                "VOLUME specified can not be an empty string", fix="write an absolute path"
            )
        return cls(*parsed.head, words, parsed.exec_words is not None)
