"""What COPY and ADD have in common: sources, some of them here-documents, and a destination."""

from builder.dockerfile.heredocs import parse_heredoc
from builder.dockerfile.instructions.heredoc import Heredoc
from builder.dockerfile.parsed import Parsed
from builder.values import NamedTuple


class Sources(NamedTuple):
    """The words of a COPY or ADD, here-documents apart."""

    paths: tuple[str, ...]
    heredocs: tuple[Heredoc, ...]
    dest: str


def read_sources(parsed: Parsed) -> Sources:
    """Read sources and destination; raise DockerfileError."""
    words = parsed.words()
    if len(words) < len(("source", "destination")):
        raise parsed.fail(
            f"{parsed.name} requires at least two arguments, but only one was provided. Destination"
            " could not be determined",
            fix="write the sources, then the destination",
        )
    *sources, dest = words
    if parsed.exec_words is not None:
        return Sources(tuple(sources), (), dest)
    if parse_heredoc(dest) is not None:
        raise parsed.fail(
            f"{parsed.name} cannot accept a heredoc as a destination",
            fix="write the destination last",
        )
    bodies = {heredoc.name: heredoc for heredoc in parsed.heredocs}
    paths, heredocs = [], []
    for source in sources:
        announced = parse_heredoc(source)
        if announced is not None and announced.name in bodies:
            heredocs.append(bodies[announced.name])
        else:
            paths.append(source)
    return Sources(tuple(paths), tuple(heredocs), dest)
