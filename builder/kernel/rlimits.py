"""Resource limits by the names that `--ulimit` uses."""

from builder.errors import UsageError
from builder.text import nearest

UNLIMITED = -1
NUMBERS = {
    "cpu": 0,
    "fsize": 1,
    "data": 2,
    "stack": 3,
    "core": 4,
    "rss": 5,
    "nproc": 6,
    "nofile": 7,
    "memlock": 8,
    "as": 9,
    "locks": 10,
    "sigpending": 11,
    "msgqueue": 12,
    "nice": 13,
    "rtprio": 14,
    "rttime": 15,
}


def parse(text: str) -> tuple[int, int, int]:
    """Read `name=soft[:hard]` as the kernel's number of the limit, soft and hard value.

    Hard defaults to soft; -1 and `unlimited` mean no limit. Raises UsageError.
    """
    name, separator, values = text.partition("=")
    if name not in NUMBERS:
        guess = nearest(name, NUMBERS)
        fix = f"did you mean {guess}?" if guess else f"use one of {', '.join(NUMBERS)}"
        raise UsageError(f"there is no limit named {name}", fix=fix)
    soft_text, _, hard_text = values.partition(":")
    soft = _value(soft_text, text) if separator else None
    if soft is None:
        raise UsageError(f"{text} sets no value", fix=f"write {name}=SOFT or {name}=SOFT:HARD")
    hard = _value(hard_text, text) if hard_text else soft
    if hard != UNLIMITED and (soft == UNLIMITED or soft > hard):
        raise UsageError(f"in {text} the soft limit exceeds the hard one", fix="swap the values")
    return NUMBERS[name], soft, hard


def _value(text: str, whole: str) -> int:
    if text in {"unlimited", "-1"}:
        return UNLIMITED
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004 - 64 bits
        raise UsageError(f"{text!r} in {whole} is not a number", fix="use digits, or unlimited")
    return int(text)
