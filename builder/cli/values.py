"""Read the values that options take: sizes, durations, `key=value`, comma-separated fields."""

from collections.abc import Iterable

from builder.errors import UsageError
from builder.text import InvalidFields
from builder.text import csv_fields as text_fields

_SIZE_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
_DURATION_UNITS = {  # "ms" before "m": the first that fits is taken
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0,
}  # fmt: skip
_NUMBER = "0123456789."


def size_bytes(text: str) -> int:
    """Read a size as docker does, in powers of 1024: `64m`, `1.5g`, `2GiB`, `100`, `10b`.

    Raises UsageError.
    """
    number, unit = _leading_number(text.strip().lower())
    unit = unit.strip()
    scale = _SIZE_UNITS.get(unit.removesuffix("ib") if unit.endswith("ib") else unit)
    if scale is None:
        scale = _SIZE_UNITS.get(unit.removesuffix("b"))
    if number is None or scale is None:
        raise UsageError(f"{text!r} is not a size", fix="write a number and b, k, m or g: 64m")
    return int(number * scale)


def duration_s(text: str) -> float:
    """Read a duration in Go's syntax, `1m30s`, or a plain number of seconds; raise UsageError."""
    rest = text.strip()
    sign, rest = (-1.0, rest[1:]) if rest.startswith("-") else (1.0, rest)
    number, unit = _leading_number(rest)
    if number is not None and not unit:
        return sign * number
    total, is_read = 0.0, bool(rest)
    while rest and is_read:
        number, rest = _leading_number(rest)
        unit = next((name for name in _DURATION_UNITS if rest.startswith(name)), "")
        is_read = number is not None and bool(unit)
        total += (number or 0.0) * _DURATION_UNITS.get(unit, 0.0)
        rest = rest[len(unit) :]
    if not is_read:
        raise UsageError(f"{text!r} is not a duration", fix="write for example 10s, 500ms or 1m30s")
    return sign * total


def integer(text: str, what: str, *, minimum: int | None = None) -> int:
    """Read a whole number; `what` names the option in the error."""
    try:
        number = int(text, 10)
    except ValueError:
        raise UsageError(f"{what} takes a whole number, not {text!r}") from None
    if minimum is not None and number < minimum:
        raise UsageError(f"{what} is {number}, and {minimum} is the least")
    return number


def decimal(text: str, what: str) -> float:
    """Read a non-negative number, `1.5`; `what` names the option in the error."""
    number, rest = _leading_number(text.strip())
    if number is None or rest:
        raise UsageError(f"{what} takes a number such as 1.5, not {text!r}")
    return number


def key_value(text: str, what: str) -> tuple[str, str]:
    """Split `key=value` at the first `=`; `what` names the option in the error."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise UsageError(f"{what} takes KEY=VALUE, not {text!r}")
    return key, value


def csv_fields(text: str) -> list[str]:
    """Split one line of comma-separated values; double quotes protect commas.

    Raises UsageError.
    """
    try:
        return text_fields(text)
    except InvalidFields as error:
        raise UsageError(str(error), fix=error.fix) from None


def csv_pairs(text: str) -> list[tuple[str, str | None]]:
    """Split `a=1,b,c="x,y"` into keys and values; a word without `=` has the value None."""
    pairs: list[tuple[str, str | None]] = []
    for field in csv_fields(text):
        key, equals, value = field.partition("=")
        pairs.append((key.strip().lower(), value if equals else None))
    return pairs


def filters(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Collect `--filter key=value` options by key."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        key, value = key_value(text, "--filter")
        found[key] = (*found.get(key, ()), value)
    return found


def environment(texts: Iterable[str], environ: "dict[str, str] | None" = None) -> list[str]:
    """Complete `-e` words: `K=V` stays, bare `K` takes the caller's value or stays bare."""
    given = environ or {}
    return [text if "=" in text or text not in given else f"{text}={given[text]}" for text in texts]


def _leading_number(text: str) -> tuple[float | None, str]:
    digits = text[: len(text) - len(text.lstrip(_NUMBER))]
    if not digits.strip(".") or digits.count(".") > 1:
        return None, text
    return float(digits), text[len(digits) :]
