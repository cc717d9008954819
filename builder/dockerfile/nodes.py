"""From text to the syntax node of each logical line: the half that knows no instruction."""

from builder.dockerfile.lines import Lines, LogicalLine, read_lines
from builder.dockerfile.syntax import Node, syntax
from builder.errors import DockerfileError
from builder.source import Source

MAX_WORDS = 50_000
_WORDY = frozenset({"arg", "env", "exp", "fro", "lab"})
"""How the instructions begin that the grammar splits into words."""


def read_nodes(source: Source, *, cache_dir: str | None = None) -> tuple[Lines, tuple[Node, ...]]:
    """Read a file as logical lines, and the node of each; raise DockerfileError."""
    lines = read_lines(source)
    for line in lines.lines:
        _check_size(lines, line)
    return lines, syntax([line.text for line in lines.lines], lines.directives.escape, cache_dir)


def _check_size(lines: Lines, line: LogicalLine) -> None:
    """Refuse what would take seconds to parse: no person wrote so many words."""
    if len(line.text) <= MAX_WORDS or line.text[:3].lower() not in _WORDY:
        return
    if len(line.text.split()) > MAX_WORDS:
        raise DockerfileError(
            f"the instruction has more than {MAX_WORDS} words",
            span=lines.span(line),
            fix="write several instructions",
        )
