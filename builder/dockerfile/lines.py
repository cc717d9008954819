"""Logical lines: comments dropped, continuations joined, here-documents taken out.

Pure text in, values out. Each logical line remembers where its pieces stood, so that any column of
it can be turned back into a place in the file.

Spec: the reference's `parser` package; a line that ends in the escape character, perhaps followed
by blanks, goes on in the next line that is neither a comment nor empty.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator

from builder.dockerfile.directives import Directives, read_directive
from builder.dockerfile.heredocs import Heredoc, heredocs_of, may_have_heredocs
from builder.errors import DockerfileError
from builder.source import Position, Source, Span
from builder.values import NamedTuple

MAX_SOURCE = 16 << 20
MAX_LINE = 65535
MAX_INSTRUCTIONS = 10_000
BOM = "\ufeff"
SPACES = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""What Go's unicode.IsSpace holds for white space."""
_CONTINUED = {
    escape: re.compile(rf"(?:^|(?<=[^{re.escape(escape)}])){re.escape(escape)}[ \t]*\Z")
    for escape in ("\\", "`")
}


class Piece(NamedTuple):
    """Where a part of a logical line came from; `offset` counts in the joined text."""

    offset: int
    line: int
    column: int


class LogicalLine(NamedTuple):
    """One instruction's text, its place, and the comments right above it."""

    text: str
    pieces: tuple[Piece, ...]
    start_line: int
    end_line: int
    comments: tuple[str, ...] = ()
    heredocs: tuple[Heredoc, ...] = ()
    has_empty_continuation: bool = False
    trailing: str = ""
    """The blanks behind the text."""

    def position(self, offset: int) -> Position:
        """Turn an offset in the joined text into a place in the file."""
        found = self.pieces[bisect_right(self.pieces, (offset, MAX_SOURCE)) - 1]
        return Position(found.line, found.column + offset - found.offset)


class Lines(NamedTuple):
    """A whole file as logical lines."""

    source: Source
    directives: Directives
    lines: tuple[LogicalLine, ...]

    def span(self, line: LogicalLine) -> Span:
        """Cover a logical line with its here-documents, to the end of its last line."""
        end = Position(line.end_line + 1, 1)
        first = line.pieces[0]
        return Span(self.source, Position(first.line, first.column), end)


def read_lines(source: Source) -> Lines:
    """Split a file into logical lines; raise DockerfileError for what breaks a limit."""
    if len(source.text) > MAX_SOURCE:
        raise _error(source, 1, f"the file is larger than {MAX_SOURCE >> 20} MiB")
    reader = _Reader(source)
    lines = tuple(reader.read())
    if not lines:
        raise _error(source, 1, "file with no instructions", fix="begin with FROM")
    return Lines(source, reader.directives, lines)


class _Reader:
    """Walks over the physical lines of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lines = source.text.removeprefix(BOM).split("\n")
        if not self._lines[-1]:
            self._lines.pop()  # what follows the last line feed is no line
        self._has_bom = source.text.startswith(BOM)
        self._next = 0
        self.directives = Directives()
        self._may_have_directives = True

    def read(self) -> Iterator[LogicalLine]:
        comments: list[str] = []
        count = 0
        while self._next < len(self._lines):
            raw = self._take()
            text = raw.lstrip(SPACES)
            if text.startswith("#"):
                self._comment(text, comments)
                continue
            self._may_have_directives = False
            if not text:
                continue
            line = self._logical(text, len(raw) - len(text), tuple(comments))
            comments = []
            count += 1
            if count > MAX_INSTRUCTIONS:
                raise self._fail(f"more than {MAX_INSTRUCTIONS} instructions", line.start_line)
            yield line

    def _comment(self, text: str, comments: list[str]) -> None:
        """Read a comment: a directive, a line to keep, or an empty one that ends what is above."""
        if self._may_have_directives:
            span = Span(self._source, Position(self._next, 1), Position(self._next + 1, 1))
            directives = read_directive(text, self.directives, span)
            if directives is not None:
                self.directives = directives
                return
            self._may_have_directives = False
        comment = text[1:].strip(SPACES)
        if comment:
            comments.append(comment)
        else:
            comments.clear()

    def _logical(self, text: str, indent: int, comments: tuple[str, ...]) -> LogicalLine:
        start = self._next
        part, is_continued = self._uncontinued(text)
        parts, length = [part], len(part)
        column = indent + 1 + (self._has_bom and start == 1)
        pieces = [Piece(0, start, column)]
        has_empty = False
        while is_continued and self._next < len(self._lines):
            raw = self._take()
            stripped = raw.lstrip(SPACES)
            if stripped.startswith("#"):
                continue
            if not stripped:
                has_empty = True
                continue
            part, is_continued = self._uncontinued(raw)
            pieces.append(Piece(length, self._next, 1))
            parts.append(part)
            length += len(part)
        joined = "".join(parts)
        stripped = joined.strip(SPACES)
        if not stripped:
            what = f"unknown instruction: nothing follows the {self.directives.escape}"
            raise self._fail(what, start, fix="write an instruction, or take the line away")
        skipped = len(joined) - len(joined.lstrip(SPACES))
        moved = tuple(piece._replace(offset=piece.offset - skipped) for piece in pieces)
        trailing = joined[skipped + len(stripped) :].rstrip("\r")
        heredocs = tuple(self._heredocs(stripped, start))
        end = self._next
        return LogicalLine(stripped, moved, start, end, comments, heredocs, has_empty, trailing)

    def _heredocs(self, text: str, start: int) -> Iterator[Heredoc]:
        if "<<" not in text or not may_have_heredocs(text):
            return
        for heredoc in heredocs_of(text):
            yield heredoc.with_body(self._body(heredoc, start))

    def _body(self, heredoc: Heredoc, start: int) -> str:
        """Take the lines up to the delimiter."""
        body: list[str] = []
        while self._next < len(self._lines):
            line = self._lines[self._next]
            self._next += 1
            self._check_length(line)
            shown = line.lstrip("\t") if heredoc.is_chomped else line
            if shown.rstrip("\r") == heredoc.name:
                return "".join(body)
            body.append(f"{line}\n")
        raise self._fail("unterminated heredoc", start, fix=f"end it with a line {heredoc.name}")

    def _uncontinued(self, text: str) -> tuple[str, bool]:
        found = _CONTINUED[self.directives.escape].search(text)
        return (text, False) if found is None else (text[: found.start()], True)

    def _take(self) -> str:
        line = self._lines[self._next]
        self._next += 1
        self._check_length(line)
        if "\0" in line:
            raise self._fail(
                "the line has NUL characters: this is no UTF-8 text",
                self._next,
                fix="save the file as UTF-8",
            )
        return line.rstrip("\r")

    def _check_length(self, line: str) -> None:
        """Refuse a line that the reference could not read."""
        if len(line) * 4 > MAX_LINE and len(line.encode("utf-8", "surrogatepass")) > MAX_LINE:
            raise self._fail(
                f"dockerfile line greater than max allowed size of {MAX_LINE}",
                self._next,
                fix="break it with continuations, or put what it holds in a file",
            )

    def _fail(self, what: str, line: int, *, fix: str | None = None) -> DockerfileError:
        return _error(self._source, line, what, fix=fix)


def _error(source: Source, line: int, what: str, *, fix: str | None = None) -> DockerfileError:
    span = Span(source, Position(line, 1), Position(line + 1, 1))
    return DockerfileError(what, span=span, fix=fix)
