"""Signals by name and number, as `kill`, `--stop-signal` and STOPSIGNAL write them."""

import signal

from builder.errors import UsageError

SIGKILL = 9
SIGTERM = 15
_RTMIN, _RTMAX = 34, 64  # the C library keeps two of the kernel's for itself
NUMBERS = {name.name.removeprefix("SIG"): name.value for name in signal.Signals} | {
    "RTMIN": _RTMIN,
    "RTMAX": _RTMAX,
}


def parse(text: str) -> int:
    """Read a name (any case, with or without SIG), RTMIN+n, RTMAX-n, or a number from 1 to 64.

    Raises UsageError.
    """
    name = text.strip().upper().removeprefix("SIG")
    if name.isascii() and name.isdigit() and len(name) < 4:  # noqa: PLR2004 - three digits
        number = int(name)
    elif name in NUMBERS:
        number = NUMBERS[name]
    else:
        number = _real_time(name)
    if not 1 <= number <= _RTMAX:
        raise UsageError(
            f"there is no signal {text!r}", fix="use a name such as SIGTERM, or a number to 64"
        )
    return number


def _real_time(name: str) -> int:
    """Read RTMIN+n or RTMAX-n; 0 for anything else."""
    for base, sign in (("RTMIN+", 1), ("RTMAX-", -1)):
        digits = name.removeprefix(base)
        if digits != name and digits.isascii() and digits.isdigit() and len(digits) < 3:  # noqa: PLR2004
            number = NUMBERS[base[:-1]] + sign * int(digits)
            return number if _RTMIN <= number <= _RTMAX else 0
    return 0
