"""A sandbox whose parent is the caller itself: for the monitor of a detached container."""

import os
import time
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair
from errno import EDEADLK

from builder.errors import KernelError
from builder.kernel import pidfd
from builder.sandbox.launch import (
    Exit,
    Sandbox,
    clone_flags,
    exit_of,
    open_namespaces,
    spawn,
)
from builder.sandbox.spec import SandboxSpec

_POLL_S = 0.01


def launch_direct(
    spec: SandboxSpec, stdin: int, stdout: int, stderr: int, fds: tuple[int, ...] = ()
) -> Sandbox:
    """Start a sandbox as a child of the caller, who must have no other thread.

    The sandbox is killed when the calling thread ends. Otherwise like `Zygote.launch`.
    Raises KernelError.
    """
    # Loaded by monitors alone; a build has the zygote.
    from builder.sandbox import init, trampoline
    from builder.sandbox.server import reset_signals

    if len(os.listdir("/proc/self/task")) > 1:
        raise KernelError("clone", EDEADLK, fix="start the sandbox before any thread")
    joined_fds = open_namespaces(spec)
    trampoline_fd = trampoline.memory_file()
    launcher_end, status = socketpair(AF_UNIX, SOCK_SEQPACKET)
    pid, process_fd = spawn(clone_flags(spec), spec.pid, fds, joined_fds)
    if pid == 0:
        launcher_end.close()
        reset_signals()
        init.run(spec, (stdin, stdout, stderr, *fds), joined_fds, status, trampoline_fd)
    status.close()
    for fd in (trampoline_fd, *joined_fds):
        os.close(fd)
    return Sandbox(_Own(pid, process_fd, launcher_end), spec.argv[0] if spec.argv else "")


def taken_over(pid: int, process_fd: int, name: str) -> Sandbox:
    """Give a sandbox that is a child of the caller and runs already."""
    return Sandbox(_Own(pid, process_fd, socket(AF_UNIX, SOCK_SEQPACKET)), name)


class _Own:
    """A lifeline to a child of the caller."""

    def __init__(self, pid: int, process_fd: int, status: socket) -> None:
        self._pid = pid
        self._pidfd = process_fd
        self._status = status
        self._has_ended = False

    def pid(self) -> int:
        return self._pid

    def status(self) -> socket:
        return self._status

    def fileno(self) -> int:
        return self._pidfd

    def has_ended(self, timeout_s: float | None) -> bool:
        if self._has_ended:
            return True
        if self._pidfd >= 0:
            return pidfd.is_readable(self._pidfd, timeout_s)
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while os.waitid(os.P_PID, self._pid, flags) is None:
            if deadline_s is not None and time.monotonic() > deadline_s:
                return False
            time.sleep(_POLL_S)
        return True

    def take_exit(self) -> Exit:
        try:
            _, wait_status, usage = os.wait4(self._pid, 0)
        except ChildProcessError as error:
            raise KernelError("wait4", error.errno or 0) from None
        self._has_ended = True
        return exit_of(wait_status, usage)

    def kill(self, signal: int) -> None:
        if self._pidfd >= 0:
            pidfd.send(self._pidfd, signal)
        elif not self._has_ended:
            os.kill(self._pid, signal)

    def close(self) -> None:
        self._status.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
