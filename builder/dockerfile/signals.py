"""Signal names that STOPSIGNAL accepts: Linux's, with or without SIG, or a number."""

_NAMES = frozenset(
    {
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT",
        "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "RTMAX", "RTMIN", "SEGV", "STKFLT", "STOP",
        "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH",
        "XCPU", "XFSZ",
    }
)  # fmt: skip
_REALTIME = {"RTMIN+": 15, "RTMAX-": 14}
_MAX_DIGITS = 18


def is_signal(text: str) -> bool:
    """Say whether a text names a signal; any number but 0 does."""
    digits = text[1:] if text[:1] in {"+", "-"} else text
    if digits.isascii() and digits.isdigit():
        return 0 < len(digits.lstrip("0")) <= _MAX_DIGITS
    name = text.upper().removeprefix("SIG")
    if name in _NAMES:
        return True
    base, offset = name[:6], name[6:]
    if base not in _REALTIME or not (offset.isascii() and offset.isdigit()):
        return False
    return str(int(offset)) == offset and 1 <= int(offset) <= _REALTIME[base]
