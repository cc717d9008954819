"""ADD: like COPY, and also downloads, clones and unpacks."""

from typing import Self

from builder.dockerfile.flags import Kind
from builder.dockerfile.instructions.heredoc import Heredoc
from builder.dockerfile.instructions.sources import read_sources
from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple

_FLAGS: dict[str, Kind] = {
    "chown": "text",
    "chmod": "text",
    "link": "boolean",
    "keep-git-dir": "boolean",
    "checksum": "text",
    "unpack": "boolean",
    "exclude": "many",
}


class Add(NamedTuple):
    """ADD as written.

    To be expanded with quotes removed: each of `sources`, `dest`, `chown`, `chmod`, `checksum`, and
    the content of heredocs that say so. Never expanded: `exclude`. None where a flag is absent.
    """

    span: Span
    keyword: str
    original: str
    comments: tuple[str, ...]
    sources: tuple[str, ...] = ()
    dest: str = ""
    heredocs: tuple[Heredoc, ...] = ()
    is_json: bool = False
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None

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
            chown=flags.text("chown"),
            chmod=flags.text("chmod"),
            link=flags.boolean("link"),
            exclude=flags.many("exclude"),
            checksum=flags.text("checksum"),
            keep_git_dir=flags.booleans.get("keep-git-dir"),
            unpack=flags.booleans.get("unpack"),
        )
