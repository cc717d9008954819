"""Read arguments by a command's table, if they mean exactly one thing; say so if they do not.

Follows pflag, which docker uses: `--flag=value`, `--flag value`, `-f value`, `-fvalue`, `-f=value`,
letters in clusters (`-itd`), flags that take `=false`. Nothing is guessed: no abbreviations. What
is doubtful gets a `Doubt`, and click explains it to the user (`cli.clicked`).

Spec: github.com/spf13/pflag, "Command line flag syntax".
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from builder.cli.options import Argument, Arguments, Command, Found, Option

TRUE_WORDS = frozenset({"1", "t", "T", "true", "TRUE", "True"})
FALSE_WORDS = frozenset({"0", "f", "F", "false", "FALSE", "False"})


Reason: TypeAlias = Literal["unknown", "value", "boolean", "choice", "few", "many"]


class Doubt(Exception):
    """The arguments are wrong or ask for help: why, and the option or word it is about."""

    def __init__(
        self, reason: Reason, word: str, *, option: Option | None = None, text: str = ""
    ) -> None:
        """Keep the name as it was written, its option if there is one, and the rejected value."""
        super().__init__(f"{reason}: {word}")
        self.reason = reason
        self.word = word
        self.option = option
        self.text = text


def parse(command: Command, words: Sequence[str]) -> Arguments:
    """Read the words that follow a command's name; raise Doubt for anything not plainly right."""
    found, positional = read(command.options, words, is_interspersed=command.is_interspersed)
    check_number(command.arguments, positional)
    return Arguments(command, found, positional)


def read(
    options: Sequence[Option], words: Sequence[str], *, is_interspersed: bool
) -> tuple[dict[str, Found], tuple[str, ...]]:
    """Separate options from positional words; raise Doubt. Values are not interpreted."""
    reader = _Reader(options, words)
    positional: list[str] = []
    while (word := reader.next_word()) is not None:
        if word == "--":
            return reader.found, (*positional, *reader.rest())
        if word.startswith("--"):
            reader.take_long(word)
        elif word.startswith("-") and word != "-":
            reader.take_letters(word)
        else:
            positional.append(word)
            if not is_interspersed:
                return reader.found, (*positional, *reader.rest())
    return reader.found, tuple(positional)


def check_number(arguments: Sequence[Argument], words: Sequence[str]) -> None:
    """Raise Doubt if there are fewer or more positional words than a command takes."""
    minimum = 0
    maximum: int | None = 0
    for argument in arguments:
        minimum += argument.minimum
        if len(words) < minimum:
            raise Doubt("few", argument.name)
        if maximum is not None:
            maximum = None if argument.maximum is None else maximum + argument.maximum
    if maximum is not None and len(words) > maximum:
        raise Doubt("many", words[maximum])


def boolean(word: str) -> bool | None:
    """Read a flag's written value the way Go's strconv.ParseBool does; None for no boolean."""
    if word in TRUE_WORDS:
        return True
    return False if word in FALSE_WORDS else None


class _Reader:
    """Walks over the words once and collects the values of options."""

    def __init__(self, options: Sequence[Option], words: Sequence[str]) -> None:
        self.found: dict[str, Found] = {}
        self._by_name = {name: option for option in options for name in option.names}
        self._words = words
        self._at = 0

    def next_word(self) -> str | None:
        if self._at >= len(self._words):
            return None
        self._at += 1
        return self._words[self._at - 1]

    def rest(self) -> tuple[str, ...]:
        return tuple(self._words[self._at :])

    def take_long(self, word: str) -> None:
        """Read `--name`, `--name=value` or `--name value`."""
        name, equals, text = word.partition("=")
        option = self._option(name)
        if equals:
            self._keep(option, name, text)
        elif option.kind in {"value", "multiple"}:
            self._keep(option, name, self._following(option, name))
        else:
            self._keep(option, name, None)

    def take_letters(self, word: str) -> None:
        """Read `-x`, `-xyz`, `-xVALUE`, `-x=VALUE` or `-x VALUE`."""
        at = 1
        while at < len(word):
            name = f"-{word[at]}"
            option = self._option(name)
            at += 1
            if word[at : at + 1] == "=":
                self._keep(option, name, word[at + 1 :])
                return
            if option.kind in {"value", "multiple"}:
                self._keep(option, name, word[at:] or self._following(option, name))
                return
            self._keep(option, name, None)

    def _option(self, name: str) -> Option:
        option = self._by_name.get(name)
        if option is None:
            raise Doubt("unknown", name)
        return option

    def _following(self, option: Option, name: str) -> str:
        word = self.next_word()
        if word is None:
            raise Doubt("value", name, option=option)
        return word

    def _keep(self, option: Option, name: str, text: str | None) -> None:
        """Store a value in its option's kind; `text` is None for an option without a value."""
        match option.kind:
            case "flag":
                is_on = True if text is None else boolean(text)
                if is_on is None:
                    raise Doubt("boolean", name, option=option, text=text or "")
                self.found[option.key] = is_on
            case "count":
                if text is not None:
                    raise Doubt("boolean", name, option=option, text=text)
                before = self.found.get(option.key, 0)
                self.found[option.key] = (before if isinstance(before, int) else 0) + 1
            case _:
                self._keep_text(option, name, option.implied if text is None else text)

    def _keep_text(self, option: Option, name: str, text: str) -> None:
        if option.choices and text not in option.choices:
            raise Doubt("choice", name, option=option, text=text)
        if option.kind == "multiple":
            kept = self.found.get(option.key, ())
            self.found[option.key] = (*(kept if isinstance(kept, tuple) else ()), text)
        else:
            self.found[option.key] = text
