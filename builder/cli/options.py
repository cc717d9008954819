"""How a command declares what it accepts: a table that the strict parser and click both read.

The table is data. `cli.argv` reads arguments by it without importing anything; `cli.clicked` builds
click's parameters from the same rows for help, suggestions and completion.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from builder.values import NamedTuple

Kind: TypeAlias = Literal["flag", "count", "value", "multiple", "optional"]
Found: TypeAlias = bool | int | str | tuple[str, ...]


class Option(NamedTuple):
    """One option; made by the functions below."""

    names: tuple[str, ...]
    kind: Kind
    help: str
    metavar: str = ""
    choices: tuple[str, ...] = ()
    is_on: bool = False
    """The value of an absent flag."""
    implied: str = ""
    """What a bare optional-value option means."""
    is_hidden: bool = False

    @property
    def key(self) -> str:
        """The first long name without dashes, or the letter if there is no long name."""
        long = next((name for name in self.names if name.startswith("--")), self.names[0])
        return long.lstrip("-")


class Argument(NamedTuple):
    """Positional words: how many, and what help calls them. `maximum` None is any number."""

    name: str
    minimum: int = 1
    maximum: int | None = 1


class Command(NamedTuple):
    """What a command is called and accepts, and the exit statuses of its errors."""

    name: str
    summary: str
    options: tuple[Option, ...] = ()
    arguments: tuple[Argument, ...] = ()
    is_interspersed: bool = True
    """Whether options may follow positional words; if not, the first word ends the options."""
    failure_status: int = 1
    usage_status: int = 2
    is_hidden: bool = False
    description: str = ""


class Arguments:
    """What was given on the command line, by option key. An undeclared key is a KeyError."""

    def __init__(
        self, command: Command, found: Mapping[str, Found], words: tuple[str, ...]
    ) -> None:
        """Keep what the parser found; absent options take their defaults when asked for."""
        self.words = words
        self._options = {option.key: option for option in command.options}
        self._found = found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Arguments):
            return NotImplemented
        return (self.words, self._found) == (other.words, other._found)

    def __hash__(self) -> int:
        return hash(self.words)

    def __repr__(self) -> str:
        return f"Arguments({dict(self._found)!r}, {self.words!r})"

    def flag(self, key: str) -> bool:
        """Give a flag's value."""
        return bool(self._found.get(key, self._options[key].is_on))

    def count(self, key: str) -> int:
        """Give how often a counted option was given."""
        option = self._options[key]
        found = self._found.get(option.key, 0)
        return found if isinstance(found, int) else 0

    def value(self, key: str) -> str | None:
        """Give the value of a single-valued option, None if absent."""
        found = self._found.get(self._options[key].key)
        return found if isinstance(found, str) else None

    def values(self, key: str) -> tuple[str, ...]:
        """Give all values of a repeatable option, in order."""
        found = self._found.get(self._options[key].key, ())
        return found if isinstance(found, tuple) else ()


def flag(*names: str, help: str, is_on: bool = False, is_hidden: bool = False) -> Option:  # noqa: A002 - click's word
    """Declare a switch: `--rm`, `--rm=false`."""
    return Option(names, "flag", help, is_on=is_on, is_hidden=is_hidden)


def count(*names: str, help: str, is_hidden: bool = False) -> Option:  # noqa: A002 - click's word
    """Declare an option that is counted: `-q -q`, `-qq`."""
    return Option(names, "count", help, is_hidden=is_hidden)


def value(
    *names: str,
    help: str,  # noqa: A002 - click's word
    choices: tuple[str, ...] = (),
    is_hidden: bool = False,
) -> Option:
    """Declare an option with one value; the last one given wins. The last word is the metavar."""
    names, metavar = _split(names)
    return Option(names, "value", help, metavar, choices, is_hidden=is_hidden)


def multiple(
    *names: str,
    help: str,  # noqa: A002 - click's word
    choices: tuple[str, ...] = (),
    is_hidden: bool = False,
) -> Option:
    """Declare a repeatable option; all its values are kept. The last word is the metavar."""
    names, metavar = _split(names)
    return Option(names, "multiple", help, metavar, choices, is_hidden=is_hidden)


def optional(
    *names: str,
    help: str,  # noqa: A002 - click's word
    implied: str,
    choices: tuple[str, ...] = (),
    is_hidden: bool = False,
) -> Option:
    """Declare an option whose value may be left out; it never takes the next word."""
    names, metavar = _split(names)
    return Option(names, "optional", help, metavar, choices, implied=implied, is_hidden=is_hidden)


def _split(names: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    if names[-1].startswith("-"):
        return names, "VALUE"
    return names[:-1], names[-1]
