r"""One pattern of an ignore file: `*`, `?` and `[a-z]` in a component, `**` across them.

A pattern matches a path if it matches the whole of it or one of its parents. No pattern is matched
by unbounded backtracking. Where every `**` is a component of its own and no class can match `/`,
the components become a regular expression whose groups are atomic: the first place where a piece
fits is always good enough. Everything else runs as a set of states, remembered in a table.

Spec: moby/patternmatcher; Go path/filepath, "Match".
"""

import re
from collections.abc import Iterator
from typing import Final

from builder.errors import UsageError
from builder.values import NamedTuple

MAX_TABLE = 4096

_END: Final = r"(?=/|\Z)"
_SKIP: Final = r"(?:[^/]*+/)*?"
_SYNTAX = frozenset("*?[\\")


class Class(NamedTuple):
    """A bracket expression: ranges of characters, or all but those; `/` is like any other."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool

    def holds(self, character: str) -> bool:
        """Say whether the class has a character."""
        return any(low <= character <= high for low, high in self.ranges) != self.is_negated

    @property
    def regex(self) -> str:
        """Write it as a regular expression."""
        ranges = "".join(f"{re.escape(low)}-{re.escape(high)}" for low, high in self.ranges)
        return f"[{'^' if self.is_negated else ''}{ranges}]"


class Wildcard(NamedTuple):
    """What stands for text that is not written."""

    name: str


ANY: Final = Wildcard("?")
STAR: Final = Wildcard("*")
DEEP: Final = Wildcard("**/")
"""Nothing, or anything up to a slash."""
REST: Final = Wildcard("**")
"""Anything at all."""

Item = str | Class | Wildcard


def is_plain(pattern: str) -> bool:
    """Say whether a pattern is just a path."""
    return _SYNTAX.isdisjoint(pattern)


def regex(pattern: str) -> str | None:
    """Write a pattern as a regular expression for `match`; None if only states can run it."""
    components = pattern.split("/")
    groups: list[list[str]] = [[]]
    for position, component in enumerate(components):
        if component == "**":
            groups.append([])
            continue
        written = _component(component)
        if written is None:
            return None
        is_last = position == len(components) - 1
        groups[-1].append(written + (_END if is_last else "/"))
    first, *deep = ("".join(group) for group in groups)
    return first + "".join(f"(?>{_SKIP}{group})" for group in deep)


def _component(component: str) -> str | None:
    """Write one component; None if it holds what may go beyond it."""
    pieces = [""]
    for item in items(component):
        if item == STAR:
            pieces.append("")
        elif item == ANY:
            pieces[-1] += "[^/]"
        elif isinstance(item, Wildcard) or (isinstance(item, Class) and item.holds("/")):
            return None
        else:
            pieces[-1] += item.regex if isinstance(item, Class) else re.escape(item)
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle) + f"[^/]*{last}"


def items(pattern: str) -> list[Item]:
    """Split a pattern into what it is made of; raise UsageError if it is malformed."""
    found = list(_items(pattern))
    is_suffix = pattern[:2] == "**" and pattern[2:3] not in ("", "/")
    if is_suffix and all(isinstance(item, str) for item in found[1:]):
        found[0] = REST  # `**name` ends a path, whatever stands before it
    return found


def _items(pattern: str) -> Iterator[Item]:
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if not pattern.startswith("*", position):
                yield STAR
                continue
            position += 1 + pattern.startswith("/", position + 1)
            yield DEEP if position < len(pattern) else REST
        elif character == "?":
            yield ANY
        elif character == "[":
            bracket, position = _class(pattern, position)
            yield bracket
        elif character == "\\":
            yield _escaped(pattern, position)
            position += 1
        else:
            yield character


def _class(pattern: str, position: int) -> tuple[Class, int]:
    is_negated = pattern.startswith("^", position)
    position += is_negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and pattern.startswith("]", position)):
        low, position = _bound(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _bound(pattern, position + 1)
        if high < low:
            raise _malformed(pattern)
        ranges.append((low, high))
    return Class(tuple(ranges), is_negated), position + 1


def _bound(pattern: str, position: int) -> tuple[str, int]:
    if pattern.startswith("\\", position):
        return _escaped(pattern, position + 1), position + 2
    character = pattern[position : position + 1]
    if character in ("", "-", "]"):
        raise _malformed(pattern)
    return character, position + 1


def _escaped(pattern: str, position: int) -> str:
    if position >= len(pattern):
        raise _malformed(pattern)
    return pattern[position]


def _malformed(pattern: str) -> UsageError:
    return UsageError(
        f"syntax error in pattern {pattern}",
        word=pattern,
        fix="close every [, put a \\ before - and ] in it, and end no pattern with \\",
    )


def _fits(item: Item, character: str) -> bool:
    """Say whether an item that stands for one character can be this one."""
    if isinstance(item, Class):
        return item.holds(character)
    return item == character or (item == ANY and character != "/")


class Automaton:
    """A pattern run as a set of states; sets that were met are kept with where they lead.

    A state is the number of the item to match next; its complement (`~`) is inside a DEEP one.
    """

    def __init__(self, pattern: str) -> None:
        """Compile a pattern; raise UsageError if it is malformed."""
        self._items = items(pattern)
        self._start = self._closed({0})
        self._table: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, path: str) -> bool:
        """Say whether a path or one of its parents matches."""
        states = self._start
        for character in path:
            if character == "/" and self._is_accepting(states):
                return True
            states = self._next(states, character)
            if not states:
                return False
        return self._is_accepting(states)

    def may_match_below(self, directory: str) -> bool:
        """Say whether a path inside a directory could match."""
        states = self._start
        for character in f"{directory}/":
            states = self._next(states, character)
        return bool(states)

    def _is_accepting(self, states: frozenset[int]) -> bool:
        return len(self._items) in states

    def _next(self, states: frozenset[int], character: str) -> frozenset[int]:
        known = self._table.get((states, character))
        if known is None:
            if len(self._table) >= MAX_TABLE:
                self._table.clear()
            moved = (target for state in states for target in self._moved(state, character))
            known = self._table[states, character] = self._closed(set(moved))
        return known

    def _moved(self, state: int, character: str) -> Iterator[int]:
        """Name the states that one character leads to."""
        if state < 0:
            yield state
            if character == "/":
                yield ~state + 1
            return
        item = self._items[state] if state < len(self._items) else DEEP
        if item == REST or (item == STAR and character != "/"):
            yield state
        elif _fits(item, character):
            yield state + 1

    def _closed(self, states: set[int]) -> frozenset[int]:
        """Add the states that need no further character."""
        closed = set(states)
        for state in states:
            at = state
            while 0 <= at < len(self._items) and self._items[at] in (STAR, DEEP, REST):
                if self._items[at] == DEEP:
                    closed.add(~at)
                at += 1
                closed.add(at)
        return frozenset(closed)
