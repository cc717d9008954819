"""What COPY and ADD have in common: sources, some of them here-documents, and a destination."""

from typing import Self

from builder.dockerfile.flags import Flags, Kind
from builder.dockerfile.heredocs import parse_heredoc
from builder.dockerfile.instructions.heredoc import Heredoc
from builder.dockerfile.parsed import Parsed
from builder.source import Span
from builder.values import NamedTuple

FLAGS: dict[str, Kind] = {
    "chown": "text",
    "chmod": "text",
    "link": "boolean",
    "exclude": "many",
}
"""Those that both know."""


class Copying(NamedTuple):
    """COPY or ADD as written.

    To be expanded with quotes removed: each of `sources`, `dest`, `chown`, `chmod`, `checksum`, and
    the content of heredocs that say so. Never expanded: `exclude`, and `from_name` (a `$` in it is
    refused). `sources` has no heredocs: those are files named after their delimiter.
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
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None

    @classmethod
    def read(cls, parsed: Parsed, flags: Flags) -> Self:
        """Read the node with its flags, of which absent ones are empty; raise DockerfileError."""
        sources, heredocs, dest = _read_words(parsed)
        return cls(
            *parsed.head,
            sources=sources,
            dest=dest,
            heredocs=heredocs,
            is_json=parsed.exec_words is not None,
            from_name=flags.text("from"),
            chown=flags.text("chown"),
            chmod=flags.text("chmod"),
            link=flags.boolean("link"),
            parents=flags.boolean("parents"),
            exclude=flags.many("exclude"),
            checksum=flags.text("checksum"),
            keep_git_dir=flags.booleans.get("keep-git-dir"),
            unpack=flags.booleans.get("unpack"),
        )


def _read_words(parsed: Parsed) -> tuple[tuple[str, ...], tuple[Heredoc, ...], str]:
    """Tell sources, here-documents and destination apart; raise DockerfileError."""
    words = parsed.words()
    if len(words) < len(("source", "destination")):
        raise parsed.fail(
            f"{parsed.name} requires at least two arguments, but only one was provided. Destination"
            " could not be determined",
            fix="write the sources, then the destination",
        )
    *sources, dest = words
    if parsed.exec_words is not None:
        return tuple(sources), (), dest
    if parse_heredoc(dest) is not None:
        raise parsed.fail(
            f"{parsed.name} cannot accept a heredoc as a destination",
            fix="write the destination last",
            word=dest,
        )
    bodies = {heredoc.name: heredoc for heredoc in parsed.heredocs}
    paths, heredocs = [], []
    for source in sources:
        announced = parse_heredoc(source)
        if announced is not None and announced.name in bodies:
            heredocs.append(bodies[announced.name])
        else:
            paths.append(source)
    return tuple(paths), tuple(heredocs), dest
