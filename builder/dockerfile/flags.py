"""Flags of instructions: `--name=value`, checked against what an instruction knows."""

from collections.abc import Sequence
from typing import Literal

from builder.dockerfile.syntax import Word
from builder.text import nearest
from builder.values import NamedTuple

Kind = Literal["text", "boolean", "many"]


class InvalidFlag(ValueError):
    """A flag is unknown, malformed or given twice; `word` is where."""

    def __init__(self, what: str, word: Word, *, fix: str) -> None:
        """Keep the place and the remedy."""
        super().__init__(what)
        self.word = word
        self.fix = fix


class Flags(NamedTuple):
    """The flags of one instruction, by name; absent ones are not there."""

    texts: dict[str, str]
    booleans: dict[str, bool]
    lists: dict[str, tuple[str, ...]]

    def text(self, name: str) -> str:
        """Give a text flag's value; empty if absent."""
        return self.texts.get(name, "")

    def boolean(self, name: str) -> bool:
        """Give a boolean flag's value; false if absent."""
        return self.booleans.get(name, False)

    def many(self, name: str) -> tuple[str, ...]:
        """Give the values of a flag that may be repeated."""
        return self.lists.get(name, ())


def read_flags(words: Sequence[Word], known: dict[str, Kind]) -> Flags:
    """Read flags in order; raise InvalidFlag with the reference's text."""
    flags = Flags({}, {}, {})
    for word in words:
        name, equals, value = unquoted(word.text)[2:].partition("=")
        kind = known.get(name)
        if kind is None:
            near = nearest(name, known)
            hint = f" (did you mean {near}?)" if near else ""
            raise InvalidFlag(f"unknown flag: --{name}{hint}", word, fix=_known(near, known))
        if kind != "many" and (name in flags.texts or name in flags.booleans):
            raise InvalidFlag(f"duplicate flag specified: --{name}", word, fix="give it once")
        if kind == "boolean":
            flags.booleans[name] = _boolean(name, value if equals else "true", word)
        elif not equals:
            raise InvalidFlag(
                f"missing a value on flag: --{name}", word, fix=f"write --{name}=value"
            )
        elif kind == "many":
            flags.lists[name] = (*flags.many(name), value)
        else:
            flags.texts[name] = value
    return flags


def _known(near: str | None, known: dict[str, Kind]) -> str:
    if near:
        return f"write --{near}"
    if not known:
        return "take it off: this instruction has no flags"
    return f"the flags are {', '.join(f'--{name}' for name in known)}"


def unquoted(text: str) -> str:
    """Take quotes and backslashes off a flag, wherever they stand."""
    if not any(character in text for character in "\"'\\"):
        return text
    out: list[str] = []
    quote = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            out.append(next(characters, ""))
        elif quote:
            if character == quote:
                quote = ""
            else:
                out.append(character)
        elif character in "\"'":
            quote = character
        else:
            out.append(character)
    return "".join(out)


def _boolean(name: str, value: str, word: Word) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidFlag(
            f"expecting boolean value for flag --{name}, not: {value}",
            word,
            fix=f"write --{name}, --{name}=true or --{name}=false",
        )
    return value.lower() == "true"
