"""Descriptors that stand for a process and for no other: no reused pid is ever signalled."""

import os
import select
from errno import EINVAL, ENOSYS, EPERM, ESRCH

from builder.errors import KernelError
from builder.kernel import syscalls

NONE = -1
"""Where the kernel has none (before 5.3) or a filter forbids them."""


def open_process(pid: int) -> int:
    """Open a pidfd; NONE if there is no such thing here. KernelError (ESRCH) if no such process."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno in {ENOSYS, EPERM, EINVAL}:
            return NONE
        raise KernelError("pidfd_open", error.errno or 0, str(pid)) from None


def send(pidfd: int, signal: int) -> bool:
    """Signal a process; False if it has ended."""
    try:
        syscalls.pidfd_send_signal(pidfd, signal)
    except KernelError as error:
        if error.errno == ESRCH:
            return False
        raise
    return True


def is_readable(fd: int, timeout_s: float | None) -> bool:
    """Wait until a descriptor can be read: a pidfd, when its process has ended."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)))
