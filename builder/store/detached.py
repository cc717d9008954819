"""Work that goes on after the command has answered, in a process nobody waits for."""

import os
from collections.abc import Callable
from contextlib import suppress

from builder.kernel.memory import give_back

_NICE = 19
_FIRST_OTHER_FD = 3
_MOST_FDS = 1 << 20


def run_detached(work: Callable[[], None]) -> None:
    """Do something in a process of its own session that shares no descriptor with the caller.

    Call it only while no other thread runs: a forked child has one thread, and their locks.
    """
    give_back()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    status = 1
    try:
        os.setsid()
        if os.fork() == 0:
            _let_go()
            work()
        status = 0
    finally:
        os._exit(status)


def leave_behind(work: Callable[[], None]) -> None:
    """Do the same for a caller that ends at once, which saves a fork: its end makes an orphan."""
    give_back()
    if os.fork() == 0:
        try:
            os.setsid()
            _let_go()
            work()
        finally:
            os._exit(0)


def _let_go() -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in range(_FIRST_OTHER_FD):
        os.dup2(null, fd)
    os.closerange(_FIRST_OTHER_FD, _MOST_FDS)
    os.chdir("/")
    _stand_back()


def _stand_back() -> None:
    """Let others have the processors first, such as the user's next command."""
    os.nice(_NICE)
    # Where the kernel gives each session a share of its own, this is the one that counts.
    with suppress(OSError), open("/proc/self/autogroup", "w", encoding="utf-8") as file:
        file.write(str(_NICE))
