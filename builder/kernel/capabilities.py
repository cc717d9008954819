"""Capabilities as masks, by the names that `--cap-add` and `--cap-drop` use.

Spec: capabilities(7).
"""

from collections.abc import Iterable

from builder.errors import UsageError
from builder.text import nearest

_NAMES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
NUMBERS = {name: number for number, name in enumerate(_NAMES.split())}
ALL = (1 << len(NUMBERS)) - 1
DEFAULT = 0xA80425FB
"""CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT
MKNOD AUDIT_WRITE SETFCAP: the fourteen that Docker leaves to a container."""


def parse(add: Iterable[str], drop: Iterable[str], *, base: int = DEFAULT) -> int:
    """Apply additions and removals to a mask; their order on the command line does not count.

    Names are of any case, with or without `CAP_`. Dropping ALL starts from nothing, adding ALL from
    everything; what is named singly is then added, or with ALL added, removed.
    """
    added, dropped = _mask(add), _mask(drop)
    if dropped == ALL:
        return added
    return (base | added) & ~dropped if added == ALL else (base & ~dropped) | added


def names(mask: int) -> tuple[str, ...]:
    """List the names in a mask, with `CAP_`."""
    return tuple(f"CAP_{name}" for name, number in NUMBERS.items() if mask >> number & 1)


def _mask(words: Iterable[str]) -> int:
    mask = 0
    for word in words:
        name = word.upper().removeprefix("CAP_")
        if name == "ALL":
            mask = ALL
        elif name in NUMBERS:
            mask |= 1 << NUMBERS[name]
        else:
            guess = nearest(name, NUMBERS)
            raise UsageError(
                f"there is no capability named {word}",
                fix=f"did you mean {guess}?" if guess else "see capabilities(7)",
            )
    return mask
