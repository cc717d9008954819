"""Where a piece of text came from: a source, a span in it, and an excerpt for people.

Lines and columns count from 1, as editors do; a span's end is exclusive.
"""

import re

from builder.text import visible
from builder.values import NamedTuple

CONTEXT_LINES = 2
EXCERPT_WIDTH = 160


class Position(NamedTuple):
    """A place in a text: line and column, both 1-based, counted in characters."""

    line: int
    column: int


class Source(NamedTuple):
    """A text with the name that people know it by."""

    name: str
    text: str


class Span(NamedTuple):
    """A range of a source; `end` is the position just after its last character."""

    source: Source
    start: Position
    end: Position


def where(span: Span) -> str:
    """Name a span's first line the way compilers do, `Dockerfile:3`."""
    return f"{visible(span.source.name)}:{span.start.line}"


def narrowed(span: Span, word: str) -> Span:
    """Give the place of a word within a span: where it stands alone, else its first occurrence.

    The keyword that the span begins with does not count. A word that is not written there in one
    piece gives the span itself.
    """
    if word:
        quoted = re.escape(word)
        for pattern in (rf"(?<![^\s=,\"'\[]){quoted}(?![^\s=,\"'\]])", quoted):
            for number, text in _lines_of(span):
                start = span.start.column if number == span.start.line else 0
                found = re.compile(pattern).search(text, start)
                if found is not None:
                    place = [Position(number, at + 1) for at in found.span()]
                    return Span(span.source, place[0], place[1])
    return span


def _lines_of(span: Span) -> list[tuple[int, str]]:
    """List the lines of a span with their numbers, each up to where the span ends."""
    last = last_line(span)
    lines = span.source.text.split("\n")[span.start.line - 1 : last]
    if lines and last == span.end.line:
        lines[-1] = lines[-1][: span.end.column - 1]
    return list(enumerate(lines, span.start.line))


def excerpt(span: Span, word: Span | None = None) -> str:
    """Show the lines of a span with `>>>` before each, and carets below a word in one of them.

    Without a word these are below the span, if it is within a line.
    """
    word = word or span
    lines = span.source.text.split("\n")
    first = max(1, span.start.line - CONTEXT_LINES)
    last_marked = last_line(span)
    last = min(len(lines), last_marked + CONTEXT_LINES)
    shown = [where(span), "-" * 20]
    for number in range(first, last + 1):
        text = lines[number - 1].rstrip("\r")
        mark = ">>>" if span.start.line <= number <= last_marked else "   "
        shown.append(f"{number:4} | {mark} {visible(text[:EXCERPT_WIDTH])}".rstrip())
        if number == word.start.line == last_line(word):
            shown.extend(_caret(text, word))
    shown.append("-" * 20)
    return "\n".join(shown)


def last_line(span: Span) -> int:
    """Give the last line that a span covers at least one character of."""
    if span.end.column == 1 and span.end.line > span.start.line:
        return span.end.line - 1
    return span.end.line


def _caret(text: str, span: Span) -> list[str]:
    start = span.start.column
    end = span.end.column if span.end.line == span.start.line else len(text) + 1
    is_whole_line = start <= len(text) - len(text.lstrip()) + 1 and end > len(text)
    if is_whole_line or start > EXCERPT_WIDTH:
        return []
    before = len(visible(text[: start - 1]))
    width = max(1, len(visible(text[start - 1 : min(end, EXCERPT_WIDTH) - 1])))
    return [f"     |     {' ' * before}{'^' * width}"]
