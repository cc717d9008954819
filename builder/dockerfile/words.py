"""Words: quotes, escapes and `$VARIABLE` forms, as a shell would read them.

One pass over the text with a position; nested forms recurse to a fixed depth. Expansion never
reads the environment of the process: variables are an argument.
"""

from collections.abc import Mapping

from builder.dockerfile import shellpattern
from builder.values import NamedTuple

MAX_WORD = 1 << 20
MAX_DEPTH = 100
_SPECIAL_PARAMETERS = frozenset("@*#?-$!0")
_MODIFIERS = frozenset("+-?#%")


class InvalidWord(ValueError):
    """A word cannot be expanded; the text says which and why."""


class Expansion(NamedTuple):
    """What a text came to, and the variables it asked for."""

    text: str
    words: tuple[str, ...]
    matched: frozenset[str] = frozenset()
    unmatched: frozenset[str] = frozenset()


class Style(NamedTuple):
    """How literally a text is taken."""

    escape: str = "\\"
    keeps_quotes: bool = False
    keeps_escapes: bool = False
    keeps_unset: bool = False
    """Leave a variable that is not set as it is written."""
    ignores_quotes: bool = False
    """Quotes are ordinary characters: the bodies of here-documents."""


SHELL = Style()
BODY = Style(ignores_quotes=True)
RAW = Style(keeps_quotes=True, keeps_escapes=True, keeps_unset=True)
NAME = Style(keeps_quotes=True, keeps_unset=True)
"""For the names of steps: what is known is filled in, the rest stays as written."""


def expand(text: str, variables: Mapping[str, str], style: Style = SHELL) -> Expansion:
    """Expand a text; raise InvalidWord with the reference's wording.

    `words` is the same text split at unquoted white space, that of variables included.
    """
    if not any(special in text for special in (style.escape, "$", "'", '"', "<<")):
        return Expansion(text, tuple(text.split()))
    expander = _Expander(text, variables, style)
    try:
        result, words = expander.until("", keeps_escapes=style.keeps_escapes)
    except InvalidWord as error:
        shown = text if len(text) <= 200 else text[:200] + "…"  # noqa: PLR2004 - for people
        raise InvalidWord(f'failed to process "{_quoted(shown)}": {error}') from None
    return Expansion(result, words, frozenset(expander.matched), frozenset(expander.unmatched))


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class _Words:
    """Collects words while a text is read."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._word: list[str] = []
        self._is_open = False

    def add(self, text: str) -> None:
        """Add unquoted text: white space ends a word."""
        for character in text:
            if not character.isspace():
                self.add_raw(character)
            elif self._is_open:
                self.close()

    def add_raw(self, text: str) -> None:
        """Add quoted or escaped text."""
        self._word.append(text)
        self._is_open = True

    def close(self) -> None:
        """End the present word; an empty one does not count."""
        word = "".join(self._word)
        if word:
            self.done.append(word)
        self._word = []
        self._is_open = False


class _Expander:
    """One pass over one text."""

    def __init__(self, text: str, variables: Mapping[str, str], style: Style) -> None:
        self._text = text
        self._position = 0
        self._variables = variables
        self._style = style
        self._depth = 0
        self._size = 0
        self.matched: set[str] = set()
        self.unmatched: set[str] = set()

    def until(self, stop: str, *, keeps_escapes: bool) -> tuple[str, tuple[str, ...]]:
        """Expand up to a stop character, which is consumed; empty means to the end."""
        self._enter()
        result: list[str] = []
        words = _Words()
        while self._position < len(self._text):
            character = self._text[self._position]
            if stop and character == stop:
                self._position += 1
                words.close()
                self._depth -= 1
                return "".join(result), tuple(words.done)
            piece, is_open = self._piece(character, keeps_escapes=keeps_escapes)
            self._grow(len(piece))
            result.append(piece)
            if is_open:
                words.add(piece)
            else:
                words.add_raw(piece)
        if stop:
            raise InvalidWord(f"unexpected end of statement while looking for matching {stop}")
        words.close()
        self._depth -= 1
        return "".join(result), tuple(words.done)

    def _piece(self, character: str, *, keeps_escapes: bool) -> tuple[str, bool]:
        """Read one unit; say whether white space in it separates words."""
        if character == "$":
            return self._dollar(), True
        if not self._style.ignores_quotes and character == "'":
            return self._single_quoted(), False
        if not self._style.ignores_quotes and character == '"':
            return self._double_quoted(), False
        self._position += 1
        if character == "<" and self._peek() == "<":
            return self._heredoc(), False
        if character != self._style.escape:
            return character, True
        following = self._text[self._position : self._position + 1]
        self._position += len(following)
        return (character if keeps_escapes else "") + following, False

    def _heredoc(self) -> str:
        """Read a `<<` with the blanks behind it: they belong to the word that follows."""
        start = self._position - 1
        self._position += 1
        while self._peek() and self._peek() in "\t\n\v\f\r ":
            self._position += 1
        return self._text[start : self._position]

    def _single_quoted(self) -> str:
        end = self._text.find("'", self._position + 1)
        if end < 0:
            raise InvalidWord("unexpected end of statement while looking for matching single-quote")
        quoted = self._text[self._position : end + 1]
        self._position = end + 1
        return quoted if self._style.keeps_quotes else quoted[1:-1]

    def _double_quoted(self) -> str:
        quote = '"' if self._style.keeps_quotes else ""
        result = [quote]
        self._position += 1
        while self._position < len(self._text):
            character = self._text[self._position]
            if character == "$":
                piece = self._dollar()
                self._grow(len(piece))
                result.append(piece)
                continue
            self._position += 1
            if character == '"':
                return "".join((*result, quote))
            if character == self._style.escape:
                character = self._escaped_in_quotes()
            result.append(character)
        raise InvalidWord("unexpected end of statement while looking for matching double-quote")

    def _escaped_in_quotes(self) -> str:
        """Read what follows an escape in double quotes: only a few characters can be escaped."""
        escape = self._style.escape
        following = self._text[self._position : self._position + 1]
        if not following:
            return escape if self._style.keeps_escapes else ""
        if following in ('"', "$", escape):
            self._position += 1
            return (escape if self._style.keeps_escapes else "") + following
        return escape

    def _dollar(self) -> str:
        self._position += 1
        if self._peek() == "{":
            self._position += 1
            return self._braced()
        name = self._name()
        if not name:
            return "$"
        value = self._lookup(name)
        if value is None:
            return f"${name}" if self._style.keeps_unset else ""
        return value

    def _braced(self) -> str:
        following = self._peek()
        if not following:
            raise InvalidWord("syntax error: missing '}'")
        if following in "{}:":
            raise InvalidWord("syntax error: bad substitution")
        name = self._name()
        operator = self._next()
        if operator == "}":
            value = self._lookup(name)
            if value is None:
                return f"${{{name}}}" if self._style.keeps_unset else ""
            return value
        if operator == "/":
            return self._replacing(name)
        is_empty_unset = operator == ":"
        modifier = self._next() if is_empty_unset else operator
        shown = ":" + modifier if is_empty_unset else modifier
        if modifier not in _MODIFIERS or not modifier or (is_empty_unset and modifier in "#%"):
            shown = shown or "\N{REPLACEMENT CHARACTER}"  # as the reference shows the end
            raise InvalidWord(f"unsupported modifier ({shown}) in substitution")
        return self._modified(name, shown, modifier, is_empty_unset=is_empty_unset)

    def _modified(self, name: str, shown: str, modifier: str, *, is_empty_unset: bool) -> str:
        word = self._inner("}", "syntax error: missing '}'", keeps_escapes=modifier in "#%")
        value = self._lookup(name)
        if value is None and self._style.keeps_unset:
            return f"${{{name}{shown}{word}}}"
        is_missing = value is None or (is_empty_unset and not value)
        if modifier == "-":
            return word if is_missing else value or ""
        if modifier == "+":
            return "" if is_missing else word
        if modifier == "?":
            if is_missing:
                state = "unset" if value is None else "empty"
                raise InvalidWord(f"{name}: {word or f'is not allowed to be {state}'}")
            return value or ""
        is_longest = word.startswith(modifier)
        trim = shellpattern.without_prefix if modifier == "#" else shellpattern.without_suffix
        try:
            return trim(word[1:] if is_longest else word, value or "", is_longest=is_longest)
        except shellpattern.InvalidPattern as error:
            raise InvalidWord(str(error)) from None

    def _replacing(self, name: str) -> str:
        is_global = self._peek() == "/"
        self._position += is_global
        pattern = self._inner("/", "syntax error: missing '/' in ${}", keeps_escapes=True)
        replacement = self._inner("}", "syntax error: missing '}'", keeps_escapes=True)
        value = self._lookup(name)
        if value is None and self._style.keeps_unset:
            return f"${{{name}/{pattern}/{replacement}}}"
        try:
            return shellpattern.replaced(pattern, value or "", replacement, is_global=is_global)
        except shellpattern.InvalidPattern as error:
            raise InvalidWord(str(error)) from None

    def _inner(self, stop: str, at_end: str, *, keeps_escapes: bool) -> str:
        try:
            return self.until(stop, keeps_escapes=keeps_escapes)[0]
        except InvalidWord:
            if self._position >= len(self._text):
                raise InvalidWord(at_end) from None
            raise

    def _name(self) -> str:
        """Read a name: letters, digits and underscores; or digits; or one special character."""
        start = self._position
        first = self._peek()
        if first.isdigit():
            while self._peek().isdigit():
                self._position += 1
        elif first and first in _SPECIAL_PARAMETERS:
            self._position += 1
        else:
            while (character := self._peek()) and (character.isalnum() or character == "_"):
                self._position += 1
        return self._text[start : self._position]

    def _lookup(self, name: str) -> str | None:
        value = self._variables.get(name)
        (self.unmatched if value is None else self.matched).add(name)
        return value

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _next(self) -> str:
        character = self._peek()
        self._position += len(character)
        return character

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._position = 0
            raise InvalidWord(f"substitutions are nested more than {MAX_DEPTH} levels deep")

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_WORD:
            self._position = 0
            raise InvalidWord(f"the expanded text is longer than {MAX_WORD >> 20} MiB")
