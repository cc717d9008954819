"""Choose the display for a stream, and bring it to an orderly end."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builder.errors import UsageError
from builder.events import Sink, discard

if TYPE_CHECKING:
    from builder.progress.jsonlines import JsonLines
    from builder.progress.plain import Plain
    from builder.progress.terminal import Terminal
    from builder.progress.writer import Writer

KINDS = ("auto", "plain", "tty", "quiet", "none", "rawjson")


@contextmanager
def display(kind: str, descriptor: int, environ: Mapping[str, str]) -> Iterator[Sink]:
    """Give a sink of one of KINDS that shows events on a descriptor, and flush it at the end.

    `auto` is `tty` on a terminal that can move its cursor, else `plain`. NO_COLOR is honoured.
    Raises UsageError.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no progress {kind!r}", fix=f"use {', '.join(KINDS)}")
    if kind in {"quiet", "none"}:
        yield discard
        return
    is_terminal = os.isatty(descriptor) and environ.get("TERM", "dumb") != "dumb"
    from builder.progress.writer import Writer

    has_colours = is_terminal and not environ.get("NO_COLOR")
    if kind == "auto":
        kind = "tty" if is_terminal else "plain"
    writer = Writer(descriptor)
    sink = _sink(kind, writer, descriptor, has_colours=has_colours)
    try:
        yield sink
    finally:
        sink.close()
        writer.close()


def _sink(
    kind: str, writer: "Writer", descriptor: int, *, has_colours: bool
) -> "Plain | Terminal | JsonLines":
    """Import and make one display; the others are not imported."""
    match kind:
        case "tty":
            from builder.progress.terminal import Terminal

            return Terminal(writer, descriptor, has_colours=has_colours)
        case "rawjson":
            from builder.progress.jsonlines import JsonLines

            return JsonLines(writer)
        case _:
            from builder.progress.plain import Plain

            return Plain(writer, has_colours=has_colours)
