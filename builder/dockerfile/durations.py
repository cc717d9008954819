"""Durations as Go writes them: `1m30s`, `500ms`, `1.5h`; in nanoseconds."""

import re

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = re.compile(r"(?=\.?[0-9])([0-9]{0,20})\.?([0-9]{0,20})(ns|us|µs|μs|ms|s|m|h)")
_LIMIT_NS = (1 << 63) - 1


class InvalidDuration(ValueError):
    """A text is no duration, in Go's words."""


def duration_ns(text: str) -> int:
    """Read a duration; raise InvalidDuration."""
    body = text.lstrip("+-") if text[:1] in "+-" else text
    if body == "0":
        return 0
    total_ns = 0
    position = 0
    while position < len(body):
        found = _PART.match(body, position)
        if found is None:
            break
        unit_ns = _UNITS_NS[found[3]]
        total_ns += int(found[1] or 0) * unit_ns
        total_ns += int(found[2] or 0) * unit_ns // 10 ** len(found[2])
        position = found.end()
    if not body or position < len(body) or total_ns > _LIMIT_NS:
        is_unitless = bool(re.fullmatch(r"[\d.]*\d[\d.]*", body[position:])) and bool(body)
        reason = "missing unit in" if is_unitless else "invalid"
        raise InvalidDuration(f'time: {reason} duration "{text}"')
    return -total_ns if text.startswith("-") else total_ns
