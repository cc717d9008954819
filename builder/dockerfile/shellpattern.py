"""The patterns of `${v#p}` and `${v/p/r}`: `*`, `?` and escapes, matched in linear time.

All patterns are run as a set of states over the text, never by backtracking: a hostile pattern
costs no more than its length times the text's. As in the reference, neither wildcard matches a line
feed.
"""

from typing import Final

STAR: Final = -1
ANY: Final = -2
_ESCAPABLE = frozenset("*?\\")
_STRUCTURE = frozenset("}/")


class InvalidPattern(ValueError):
    """The pattern escapes a character that cannot be escaped."""


def parse(pattern: str) -> list[int]:
    """Turn a pattern into items: STAR, ANY, or the code of a literal character.

    Raises InvalidPattern.
    """
    items: list[int] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "*":
            if not items or items[-1] != STAR:
                items.append(STAR)
        elif character == "?":
            items.append(ANY)
        elif character == "\\":
            following = pattern[position : position + 1]
            if following and following in _STRUCTURE:
                continue
            if following not in _ESCAPABLE or not following:
                raise InvalidPattern(f"invalid escape '\\{following}'")
            items.append(ord(following))
            position += 1
        else:
            items.append(ord(character))
    return items


def match_end(items: list[int], text: str, *, is_longest: bool) -> int | None:
    """Match at the start of the text; return the end of the shortest or longest match."""
    states = _closure({0}, items)
    end = 0 if len(items) in states else None
    for position, character in enumerate(text):
        if end is not None and not is_longest:
            return end
        states = _closure(_step(states, items, character), items)
        if not states:
            return end
        if len(items) in states:
            end = position + 1
    return end


def without_prefix(pattern: str, text: str, *, is_longest: bool) -> str:
    """Drop a matching beginning."""
    end = match_end(parse(pattern), text, is_longest=is_longest)
    return text if end is None else text[end:]


def without_suffix(pattern: str, text: str, *, is_longest: bool) -> str:
    """Drop a matching end, by matching both backwards."""
    items = parse(pattern)[::-1]
    end = match_end(items, text[::-1], is_longest=is_longest)
    return text if end is None else text[: len(text) - end]


def replaced(pattern: str, text: str, replacement: str, *, is_global: bool) -> str:
    """Replace the first or every longest match; an empty match is replaced too."""
    items = parse(pattern)
    out: list[str] = []
    position = 0
    while position <= len(text):
        found = _search(items, text, position)
        if found is None:
            break
        start, end = found
        out += (text[position:start], replacement)
        position = end
        if end == start:
            out.append(text[end : end + 1])
            position += 1
        if not is_global:
            break
    return "".join(out) + text[position:]


def _search(items: list[int], text: str, begin: int) -> tuple[int, int] | None:
    """Find the leftmost match at or after `begin`, and its longest end, in one pass."""
    starts: dict[int, int] = {}
    best: tuple[int, int] | None = None
    for position in range(begin, len(text) + 1):
        if best is None:
            starts.setdefault(0, position)
        _close_with_starts(starts, items)
        start = starts.get(len(items))
        if start is not None and (best is None or start <= best[0]):
            best = (start, position)
        if position == len(text):
            break
        starts = _step_with_starts(starts, items, text[position], best)
        if not starts and best is not None:
            break
    return best


def _close_with_starts(starts: dict[int, int], items: list[int]) -> None:
    for state in sorted(starts):
        at = state
        while at < len(items) and items[at] == STAR:
            at += 1
            if starts.get(at, starts[state] + 1) > starts[state]:
                starts[at] = starts[state]


def _step_with_starts(
    starts: dict[int, int], items: list[int], character: str, best: tuple[int, int] | None
) -> dict[int, int]:
    moved: dict[int, int] = {}
    for state, start in starts.items():
        if best is not None and start > best[0]:
            continue
        target = _moved(state, items, character)
        if target is not None and moved.get(target, start + 1) > start:
            moved[target] = start
    return moved


def _closure(states: set[int], items: list[int]) -> set[int]:
    closed = set(states)
    for state in states:
        at = state
        while at < len(items) and items[at] == STAR:
            at += 1
            closed.add(at)
    return closed


def _step(states: set[int], items: list[int], character: str) -> set[int]:
    moved = {_moved(state, items, character) for state in states}
    return {state for state in moved if state is not None}


def _moved(state: int, items: list[int], character: str) -> int | None:
    if state == len(items):
        return None
    item = items[state]
    if item == STAR:
        return None if character == "\n" else state
    if item == ANY:
        return None if character == "\n" else state + 1
    return state + 1 if item == ord(character) else None
