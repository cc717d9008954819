"""COPY: puts files of the context, a stage or an image into the stage."""

from typing import Self

from builder.dockerfile.flags import Kind
from builder.dockerfile.instructions.heredoc import Heredoc
from builder.dockerfile.instructions.sources import read_sources
from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple

_FLAGS: dict[str, Kind] = {
    "from": "text",
    "chown": "text",
    "chmod": "text",
    "link": "boolean",
    "parents": "boolean",
    "exclude": "many",
}


class Copy(NamedTuple):
    """COPY as written.

    To be expanded with quotes removed: each of `sources`, `dest`, `chown`, `chmod`, and the
    content of heredocs that say so. Never expanded: `from_name` (a `$` in it is refused while
    parsing) and `exclude`. `sources` has no heredocs: those are files named after their delimiter.
    """

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    sources: tuple[str, ...] = ()
    dest: str = ""
    heredocs: tuple[Heredoc, ...] = ()
    is_json: bool = False
    from_name: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: tuple[str, ...] = ()

    @classmethod
    def from_parsed(cls, parsed: Parsed) -> Self:
        """Read the node; raise DockerfileError."""
        flags = parsed.flags(_FLAGS)
        sources = read_sources(parsed)
        return cls(
            *parsed.head,
            sources=sources.paths,
            dest=sources.dest,
            heredocs=sources.heredocs,
            is_json=parsed.exec_words is not None,
            from_name=flags.text("from"),
            chown=flags.text("chown"),
            chmod=flags.text("chmod"),
            link=flags.boolean("link"),
            parents=flags.boolean("parents"),
            exclude=flags.many("exclude"),
        )
