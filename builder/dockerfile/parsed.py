"""A syntax node with its place: what instructions are made from.

An instruction's module says what of it means what; here is what several of them share.
"""

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from builder.dockerfile.flags import Flags, InvalidFlag, Kind, read_flags
from builder.dockerfile.syntax import Node, Word
from builder.errors import DockerfileError
from builder.source import Span
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.dockerfile.instructions.heredoc import Heredoc

BLANKS = "\t\v\f\r "
_ARRAY_START = re.compile(r"""\[\s*["']""")
_QUOTED = re.compile(r"""\"[^"]*"|'[^']*'""")
_PUNCTUATION = frozenset('[", ]' + BLANKS)


class Parsed(NamedTuple):
    """A node with its place; what constructors read from."""

    node: Node
    span: Span
    original: str
    comments: tuple[str, ...]
    heredocs: "tuple[Heredoc, ...]"
    place: Callable[[Word], Span]
    """Gives the span of one terminal."""
    trailing: str = ""
    """The blanks at the end of the line."""

    @property
    def head(self) -> tuple[Span, str, str, tuple[str, ...]]:
        """Give the fields that all instructions begin with."""
        return (self.span, self.node.keyword, self.original, self.comments)

    @property
    def name(self) -> str:
        """Give the keyword in capitals."""
        return self.node.keyword.upper()

    @property
    def text(self) -> str:
        """Give what follows the flags, in shell form, as it is."""
        return "".join(word.text for word in self.node.body if word.kind == "TEXT").strip()

    @property
    def exec_words(self) -> tuple[str, ...] | None:
        """Give the decoded JSON array; None in shell form."""
        for word in self.node.body:
            if word.kind == "EXEC":
                return tuple(_well_formed(text) for text in json.loads(word.text))
        return None

    @property
    def is_json_broken(self) -> bool:
        """Say whether the shell form looks like a JSON array that was meant to be one.

        A test, `[ "$a" = b ]`, does not: it has bare words, and no comma after a quote.
        """
        if not _ARRAY_START.match(self.text):
            return False
        bare, quoted = _QUOTED.subn('"', self.text)
        return quoted > 0 and ('",' in bare or _PUNCTUATION.issuperset(bare))

    def words(self) -> tuple[str, ...]:
        """Give the words of ADD, COPY and VOLUME, in either form."""
        decoded = self.exec_words
        if decoded is not None:
            return decoded
        return tuple(word for word in re.split(f"[{BLANKS}]+", self.text) if word)

    def flags(self, known: dict[str, Kind]) -> Flags:
        """Read the flags; DockerfileError at the flag that is wrong."""
        try:
            return read_flags(self.node.flags, known)
        except InvalidFlag as error:
            raise DockerfileError(str(error), fix=error.fix, span=self.place(error.word)) from None

    def fail(self, what: str, *, fix: str | None = None, word: str = "") -> DockerfileError:
        """Make an error that points at the instruction, or at a word of it as it is written."""
        return DockerfileError(what, span=self.span, fix=fix, word=word)

    def at_least_one(self) -> DockerfileError:
        """Make the error of an instruction that stands alone."""
        return self.fail(
            f"{self.name} requires at least one argument", fix=f"write what {self.name} is to do"
        )

    def one_text(self) -> str:
        """Give the rest of the line of an instruction that takes one argument and no flags."""
        self.flags({})
        if not self.text:
            raise self.fail(
                f"{self.name} requires exactly one argument", fix=f"write a value after {self.name}"
            )
        return self.text

    def named_pairs(self) -> tuple[tuple[tuple[str, str], ...], bool]:
        """Give the pairs of ENV or LABEL, and whether they were written in the older form."""
        self.flags({})
        pairs, is_legacy = self.pairs()
        if not pairs:
            raise self.at_least_one()
        if not all(name for name, _value in pairs):
            blank = next(f"={value}" for name, value in pairs if not name)
            fix = "write a name before the ="
            raise self.fail(f"{self.name} names can not be blank", fix=fix, word=blank)
        return pairs, is_legacy

    def pairs(self) -> tuple[tuple[tuple[str, str], ...], bool]:
        """Read `name=value …`, or the older `NAME rest of the line`; raise DockerfileError."""
        words = self.node.body
        if not words:
            return (), False
        if "=" not in words[0].text:
            rest = self.original[words[0].offset :].strip(BLANKS)
            parts = re.split(f"[{BLANKS}]+", rest, maxsplit=1)
            if len(parts) == 1:
                raise self.fail(
                    f"{self.name} must have two arguments",
                    fix=f"write {self.name} {parts[0]}=",
                    word=parts[0],
                )
            return ((parts[0], parts[1]),), True
        pairs = []
        for word in words:
            name, equals, value = word.text.partition("=")
            if not equals:
                raise DockerfileError(
                    f'Syntax error - can\'t find = in "{word.text}".'
                    " Must be of the form: name=value",
                    span=self.place(word),
                    fix="quote a value that holds blanks",
                )
            pairs.append((name, value))
        return tuple(pairs), False


def _well_formed(text: str) -> str:
    """Replace lone surrogates, which JSON can write and UTF-8 cannot."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
