r"""Wildcards of COPY and ADD sources, matched without backtracking into the dark.

The rules are Go's: `*` any run but for `/`, `?` any character but `/`, `[a-z]` and `[^a]` classes,
`\` takes the next character as it is. A component is matched at a time; `**` as a whole component,
which only `--parents` gives a meaning, is any number of directories.

Spec: Go path/filepath, "Match".
"""

from typing import Final

from builder.errors import UsageError
from builder.values import NamedTuple

DEEP: Final = "**"


class _Class(NamedTuple):
    """A bracket expression: ranges of characters, or all but those."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool

    def holds(self, character: str) -> bool:
        """Whether the class has a character."""
        is_in = any(low <= character <= high for low, high in self.ranges)
        return is_in != self.is_negated


class _Star:
    """Any run of characters."""


class _Any:
    """Any one character."""


_STAR, _ANY = _Star(), _Any()
_Token = str | _Class | _Star | _Any


def unescaped(component: str) -> str:
    r"""Take the backslashes off a component without wildcards."""
    if "\\" not in component:
        return component
    return "".join(token for token in _tokens(component) if isinstance(token, str))


def go_match(pattern: str, name: str) -> bool:
    """Match a whole path, component by component; raise UsageError for a malformed pattern."""
    patterns, names = pattern.split("/"), name.split("/")
    globs = [Glob(part) for part in patterns]
    return len(patterns) == len(names) and all(
        glob.matches(part) for glob, part in zip(globs, names, strict=True)
    )


class Glob:
    """One compiled component of a pattern."""

    def __init__(self, pattern: str) -> None:
        """Read the pattern; raise UsageError if a class or an escape is not complete."""
        self._tokens = _tokens(pattern)
        literal = []
        for token in self._tokens:
            if not isinstance(token, str):
                break
            literal.append(token)
        self._prefix = "".join(literal)

    def matches(self, name: str) -> bool:
        """Match a whole name; at worst the product of both lengths."""
        if not name.startswith(self._prefix):
            return False
        tokens, position, at = self._tokens, len(self._prefix), len(self._prefix)
        star = -1
        retry = 0
        while position < len(name):
            if at < len(tokens) and tokens[at] is _STAR:
                star, retry = at, position
                at += 1
            elif at < len(tokens) and _takes(tokens[at], name[position]):
                at += 1
                position += 1
            elif star >= 0:
                retry += 1
                at, position = star + 1, retry
            else:
                return False
        return all(token is _STAR for token in tokens[at:])


def _takes(token: _Token, character: str) -> bool:
    if isinstance(token, str):
        return token == character
    return token is _ANY or (isinstance(token, _Class) and token.holds(character))


def _tokens(pattern: str) -> tuple[_Token, ...]:
    tokens: list[_Token] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if not tokens or tokens[-1] is not _STAR:
                tokens.append(_STAR)
        elif character == "?":
            tokens.append(_ANY)
        elif character == "[":
            bracket, position = _bracket(pattern, position)
            tokens.append(bracket)
        else:
            literal, position = _literal(pattern, position - 1)
            tokens.append(literal)
    return tuple(tokens)


def _bracket(pattern: str, position: int) -> tuple[_Class, int]:
    is_negated = pattern.startswith("^", position)
    position += is_negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", position)):
        if pattern[position : position + 1] in ("", "-", "]"):
            raise _malformed(pattern)
        low, position = _literal(pattern, position)
        high = low
        if pattern.startswith("-", position):
            if pattern[position + 1 : position + 2] in ("", "-", "]"):
                raise _malformed(pattern)
            high, position = _literal(pattern, position + 1)
        ranges.append((low, high))
    return _Class(tuple(ranges), is_negated), position + 1


def _literal(pattern: str, position: int) -> tuple[str, int]:
    """Read one character, maybe escaped; give it and what follows it."""
    character = pattern[position]
    if character != "\\":
        return character, position + 1
    if position + 1 == len(pattern):
        raise _malformed(pattern)
    return pattern[position + 1], position + 2


def _malformed(pattern: str) -> UsageError:
    return UsageError(
        f"syntax error in pattern: {pattern!r}",
        word=pattern,
        fix="close every [ with a ], and put something behind every backslash",
    )
