"""ARG: declares build arguments."""

from typing import Self

from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple


class Arg(NamedTuple):
    """ARG as written: names with their defaults, None where there is no `=`.

    Names and defaults are to be expanded; defaults see the words before them.
    """

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    pairs: tuple[tuple[str, str | None], ...] = ()

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        parsed.flags({})
        if not parsed.node.body:
            raise parsed.at_least_one()
        pairs: list[tuple[str, str | None]] = []
        for word in parsed.node.body:
            name, equals, value = word.text.partition("=")
            if not name:
                fix = "write a name before the ="
                raise parsed.fail("ARG names can not be blank", fix=fix, word=word.text)
            pairs.append((name, value if equals else None))
        return cls(*parsed.head, tuple(pairs))
