"""Here-documents: `<<WORD` in RUN, COPY and ADD, and in ONBUILD of these."""

import json
import re
from collections.abc import Iterator

from builder.dockerfile.words import RAW, InvalidWord, Style, expand
from builder.values import NamedTuple

_HEREDOC = re.compile(r"([0-9]*)<<(-?)[\t\n\f\r ]*([^<]+)\Z")
_CAPABLE = frozenset({"run", "copy", "add"})
_LITERAL = Style(keeps_unset=True)
_QUOTED = Style(keeps_unset=True, keeps_quotes=True)
_FLAGS = re.compile(
    r"""(?:--(?:"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|\\.|[^\s"'\\])+\s+)*(?:--\s+)?""", re.DOTALL
)


class Heredoc(NamedTuple):
    """One here-document; `content` is its body as written, tabs and all."""

    name: str
    content: str = ""
    is_expanded: bool = True
    """The delimiter had no quotes, so COPY and ADD expand variables in the body."""
    is_chomped: bool = False
    """Written `<<-`: leading tabs of the lines do not count."""
    descriptor: int = 0

    def with_body(self, body: str) -> "Heredoc":
        """Fill in the body."""
        return self._replace(content=body)

    @property
    def text(self) -> str:
        """Give the body with leading tabs taken off if so written."""
        if not self.is_chomped:
            return self.content
        return "".join(line.lstrip("\t") for line in self.content.splitlines(keepends=True))


def may_have_heredocs(line: str) -> bool:
    """Say whether an instruction's line may begin here-documents: not in JSON form."""
    keyword = re.split(r"[\t\v\f\r ]", line.strip(), maxsplit=1)[0].lower()
    rest = line.strip()[len(keyword) :].strip()
    if keyword == "onbuild":
        return may_have_heredocs(rest)
    return keyword in _CAPABLE and not _is_json(_FLAGS.sub("", rest, count=1))


def heredocs_of(line: str) -> Iterator[Heredoc]:
    """Find the here-documents that a line announces, in order, bodies still empty."""
    try:
        words = expand(line, {}, RAW).words
    except InvalidWord:
        return
    for word in words:
        heredoc = parse_heredoc(word)
        if heredoc is not None:
            yield heredoc


def parse_heredoc(word: str) -> Heredoc | None:
    """Read one word as the beginning of a here-document; None if it is something else."""
    found = _HEREDOC.match(word)
    if found is None:
        return None
    try:
        names = expand(found[3], {}, _LITERAL).words
        quoted = expand(found[3], {}, _QUOTED).words
    except InvalidWord:
        return None
    if len(names) != 1:
        return None
    descriptor = int(found[1][:9] or 0)
    is_expanded = _quotes(names[0]) == _quotes(quoted[0])
    return Heredoc(names[0], "", is_expanded, found[2] == "-", descriptor)


def _quotes(word: str) -> int:
    return word.count("'") + word.count('"')


def _is_json(rest: str) -> bool:
    if not rest.startswith("["):
        return False
    try:
        json.loads(rest)
    except (ValueError, RecursionError):
        return False
    return True
