"""The functions of `--format` templates, and how Go prints values.

Values are those of JSON, and functions where an object has a method (`.Label "key"`).

Spec: Go standard library, text/template, "Functions", and fmt; docker/cli, templates.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from builder.errors import UsageError
from builder.oci import json

Function = Callable[..., object]

MAX_PADDING = 10_000
_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>\d*)(?:\.(?P<precision>\d+))?(?P<verb>.)")


class Missing:
    """What a map gives for a key it does not have."""

    def __bool__(self) -> bool:
        """Be false, as Go's zero value."""
        return False


MISSING = Missing()


def failed(why: str) -> UsageError:
    """Say why a template cannot be carried out."""
    return UsageError(f"template: {why}")


def printed(value: object, *, is_nested: bool = False) -> str:
    """Write a value as Go's `%v`."""
    if value is None or isinstance(value, bool | Missing):
        return _constant(value, is_nested=is_nested)
    if isinstance(value, Mapping):
        pairs = sorted((str(name), member) for name, member in value.items())
        inner = (f"{name}:{printed(member, is_nested=True)}" for name, member in pairs)
        return f"map[{' '.join(inner)}]"
    if isinstance(value, list | tuple):
        return f"[{' '.join(printed(item, is_nested=True) for item in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _constant(value: "Missing | bool | None", *, is_nested: bool) -> str:
    if isinstance(value, Missing):
        return "" if is_nested else "<no value>"
    return "<nil>" if value is None else str(value).lower()


def truth(value: object) -> bool:
    """Whether Go's templates take a value as true: not false, 0, nil or empty."""
    return bool(value)


def _json(value: object) -> str:
    return json.dumps(_plain(value)).decode("utf-8", "surrogateescape")


def _plain(value: object) -> object:
    """Make a value JSON: methods are left out, what is missing is null."""
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items() if not callable(member)}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, Missing) else value


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, Mapping | list | tuple):
        return len(value)
    raise failed(f"len of {printed(value)[:40]}, which has no length")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key, MISSING)
        elif isinstance(value, str | list | tuple) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise failed(f"index {key} is out of range")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise failed(f"index of {printed(value)[:40]}, which has no members")
    return value


def _slice(value: object, start: object = 0, end: object = None) -> object:
    if not isinstance(value, str | list | tuple) or not isinstance(start, int):
        raise failed("slice wants a string or a list, and numbers")
    stop = len(value) if end is None else end
    if not isinstance(stop, int) or not 0 <= start <= stop <= len(value):
        raise failed("slice is out of range")
    return value[start:stop]


def _joined(items: object, separator: str = "") -> str:
    if not isinstance(items, list | tuple):
        raise failed(f"join of {printed(items)[:40]}, which is no list")
    return str(separator).join(printed(item) for item in items)


def _print(*values: object) -> str:
    """Put spaces only between operands neither of which is a string."""
    out = ""
    for position, value in enumerate(values):
        before = values[position - 1] if position else ""
        if position and not isinstance(value, str) and not isinstance(before, str):
            out += " "
        out += printed(value)
    return out


def _println(*values: object) -> str:
    return " ".join(printed(value) for value in values) + "\n"


def _printf(template: object, *values: object) -> str:
    remaining = list(values)
    out = _VERB.sub(lambda match: _formatted(match, remaining), str(template))
    if remaining:
        out += "%!(EXTRA " + ", ".join(printed(value) for value in remaining) + ")"
    return out


def _formatted(match: re.Match[str], remaining: list[object]) -> str:
    verb = match["verb"]
    if verb == "%":
        return "%"
    if not remaining:
        return f"%!{verb}(MISSING)"
    value = remaining.pop(0)
    flags, width = match["flags"], min(int(match["width"] or 0), MAX_PADDING)
    text = _converted(verb, value, flags, match["precision"])
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags and verb not in "sqv" else text.rjust(width)


def _converted(verb: str, value: object, flags: str, precision: str | None) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in {"v", "s", "t"}:
        text = printed(value)
        return text if precision is None else text[: int(precision)]
    if verb == "q":
        return _json(printed(value))
    if verb == "x" and isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").hex()
    if is_number and verb in {"d", "x", "X", "o", "b", "c"}:
        return f"{int(value):{verb}}"  # type: ignore[call-overload,unused-ignore]
    if is_number and verb in {"f", "e", "g"}:
        digits = 6 if precision is None else min(int(precision), 100)
        return f"{value:{'+' if '+' in flags else ''}.{digits}{verb}}"
    return f"%!{verb}({printed(value)})"


def _equal(first: object, *others: object) -> bool:
    return any(
        first == other and isinstance(first, bool) == isinstance(other, bool) for other in others
    )


def _less(left: object, right: object) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left < right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left < right
    raise failed(f"{printed(left)[:40]} and {printed(right)[:40]} cannot be compared")


def _pad(text: object, before: object, after: object) -> str:
    if not text:
        return ""
    if not isinstance(before, int) or not isinstance(after, int):
        raise failed("pad wants two numbers")
    return f"{' ' * min(before, MAX_PADDING)}{printed(text)}{' ' * min(after, MAX_PADDING)}"


def _truncated(text: object, length: object) -> str:
    if not isinstance(length, int):
        raise failed("truncate wants a number")
    return printed(text)[: max(0, length)]


def _split(text: object, separator: object) -> list[str]:
    return printed(text).split(str(separator)) if separator else list(printed(text))


def _title(text: object) -> str:
    return re.sub(r"\b\w", lambda match: match[0].upper(), printed(text))


def _html(*values: object) -> str:
    escapes = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}
    return "".join(escapes.get(character, character) for character in _print(*values))


FUNCTIONS: Mapping[str, Function] = {
    "eq": _equal,
    "ge": lambda left, right: not _less(left, right),
    "gt": lambda left, right: _less(right, left),
    "html": _html,
    "index": _index,
    "join": _joined,
    "json": _json,
    "le": lambda left, right: not _less(right, left),
    "len": _length,
    "lower": lambda text: printed(text).lower(),
    "lt": _less,
    "ne": lambda left, right: not _equal(left, right),
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "slice": _slice,
    "split": _split,
    "title": _title,
    "truncate": _truncated,
    "upper": lambda text: printed(text).upper(),
}


def call(name: str, function: Function, arguments: Sequence[object]) -> object:
    """Call a function; a wrong number of arguments is the template's fault."""
    try:
        return function(*arguments)
    except TypeError:
        raise failed(f"wrong arguments for {name}") from None
