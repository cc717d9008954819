"""The parent of all sandboxes: there before the first thread, single-threaded for ever.

It makes one raw clone() for each request, with every namespace, which is neither possible nor safe
in a process with threads, and cheap in a small one. Children run `init.run`. When the main process
ends, however it ends, the zygote kills what still runs.
"""

import marshal
import os
import threading
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair
from contextlib import suppress
from errno import ECHILD
from typing import Self

from builder.errors import KernelError, StartError
from builder.kernel import pidfd
from builder.kernel.namespaces import opened
from builder.sandbox.launch import (
    COME,
    HAS_COME,
    WAKE,
    Exit,
    Sandbox,
    encode,
    open_namespaces,
    receive,
    request_of,
    rights,
)
from builder.sandbox.spec import SandboxSpec

_MSG_NOSIGNAL = 0x4000
_MSG_PEEK = 2
_MAX_FDS = 250
_SIGKILL = 9
_ZYGOTE_DIED = "the process that starts sandboxes was killed: run the command again"


class Zygote:
    """The main process's side; a context manager."""

    def __init__(self, requests: socket, pid: int) -> None:
        """Take over the socket to a running zygote."""
        self._requests = requests
        self._pid = pid
        self._is_used = False
        self._is_awake = False
        self._has_ended = False
        self._is_awaited = False

    @classmethod
    def start(cls) -> "Zygote":
        """Fork the zygote; call before the first thread, and after `namespaces.enter`."""
        return cls(*_forked())

    @classmethod
    def recruited(cls, requests: socket, pid: int) -> "Zygote":
        """Make a zygote of a child that is a `Recruit`; call it after `namespaces.enter`.

        The socket and the child are the zygote's from now on. Raises KernelError.
        """
        zygote = cls(requests, pid)
        zygote._is_awaited = True
        fds = opened()
        with suppress(OSError):  # dead; `confirm` will see
            requests.sendmsg([COME], rights(fds), _MSG_NOSIGNAL)
        for fd in fds:
            os.close(fd)
        return zygote

    def confirm(self) -> None:
        """See that a recruited zygote has come, else fork one: call it before the first thread."""
        if not self._is_awaited:
            return
        self._is_awaited = False
        with suppress(OSError):
            if self._requests.recv(len(HAS_COME)):
                return
        self.close()
        self._requests, self._pid = _forked()
        self._is_awake = self._has_ended = False

    def __enter__(self) -> Self:
        """Return the zygote."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close it."""
        self.close()

    def wake(self) -> None:
        """Let it get ready: a sandbox will be asked for soon. It may be said more than once."""
        if not self._is_awake:
            self._is_awake = True
            with suppress(OSError):  # dead; whoever asks for a sandbox is told
                self._requests.send(WAKE, _MSG_NOSIGNAL)

    def launch(
        self, spec: SandboxSpec, stdin: int, stdout: int, stderr: int, fds: tuple[int, ...] = ()
    ) -> Sandbox:
        """Ask for a sandbox; returns at once, `Sandbox.started` tells what became of it.

        The descriptors stay the caller's, who may close them now. Integers in the spec are indexes
        into `fds`. A `Running` root makes this a further process of that container.
        Raises StartError.
        """
        self._is_used = True
        joined_fds = open_namespaces(spec)
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        spec_fd = _memory_file(encode(spec))
        header = marshal.dumps(tuple(request_of(spec, len(joined_fds))))
        passed = (theirs.fileno(), spec_fd, stdin, stdout, stderr, *fds, *joined_fds)
        try:
            self._requests.sendmsg([header], rights(passed), _MSG_NOSIGNAL)
        except OSError as error:
            ours.close()
            raise StartError(f"the sandbox could not be requested: {error}") from None
        finally:
            theirs.close()
            for fd in (spec_fd, *joined_fds):
                os.close(fd)
        return Sandbox(_Remote(ours, self._requests), spec.argv[0] if spec.argv else "")

    def dismiss(self) -> None:
        """Let it kill what still runs, and end: no sandbox will be asked for any more."""
        if self._requests.fileno() < 0:
            return
        with suppress(OSError):  # dead already
            if self._is_used:
                self._requests.send(marshal.dumps(None), _MSG_NOSIGNAL)
            else:
                os.kill(self._pid, _SIGKILL)  # perhaps it is still loading its modules
        self._requests.close()

    def close(self) -> None:
        """Dismiss it, and wait for its end; it may be done more than once."""
        self.dismiss()
        if not self._has_ended:
            self._has_ended = True
            with suppress(ChildProcessError):  # somebody else waited for any child
                os.waitpid(self._pid, 0)


def _forked() -> tuple[socket, int]:
    """Fork a process that waits for requests; the socket to it, and its pid."""
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    parent_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            ours.close()
            os.setsid()  # keys of the terminal are for the main process only
            if theirs.recv(1, _MSG_PEEK):
                # Loaded on this side of the fork, and not before somebody wants it.
                from builder.sandbox.server import Server

                Server(theirs, parent_pid).serve()
        finally:
            os._exit(1)
    theirs.close()
    return ours, pid


class _Remote:
    """A lifeline to a child of the zygote."""

    def __init__(self, life: socket, requests: socket) -> None:
        self._life = life
        self._requests = requests
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._pidfd = -1
        self._status: socket | None = None

    def pid(self) -> int:
        with self._lock:
            if self._pid is None:
                self._read_birth()
            assert self._pid is not None  # noqa: S101 - narrows the type
            return self._pid

    def status(self) -> socket:
        self.pid()
        assert self._status is not None  # noqa: S101 - narrows the type
        return self._status

    def fileno(self) -> int:
        return self._life.fileno()

    def has_ended(self, timeout_s: float | None) -> bool:
        self.pid()
        return pidfd.is_readable(self._life.fileno(), timeout_s)

    def take_exit(self) -> Exit:
        message, _ = receive(self._life, 0)
        if not message:
            if self._pidfd >= 0:
                pidfd.send(self._pidfd, _SIGKILL)
            raise KernelError("wait4", ECHILD, fix=_ZYGOTE_DIED)
        return Exit(*marshal.loads(message))  # noqa: S302 - the zygote's

    def kill(self, signal: int) -> None:
        pid = self.pid()
        if self._pidfd >= 0:
            pidfd.send(self._pidfd, signal)
        else:  # only the parent knows whether the pid is still the same process
            self._requests.send(marshal.dumps((pid, signal)), _MSG_NOSIGNAL)

    def close(self) -> None:
        self._life.close()
        if self._status is not None:
            self._status.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def _read_birth(self) -> None:
        message, fds = receive(self._life, 2)
        if not message:
            raise KernelError("clone", ECHILD, fix=_ZYGOTE_DIED)
        kind, *fields = marshal.loads(message)  # noqa: S302 - the zygote's
        if kind == "refused":
            raise KernelError(*fields)
        self._pid = int(fields[0])
        self._status = socket(fileno=fds[0])
        self._pidfd = fds[1] if len(fds) > 1 else -1


def _memory_file(content: bytes) -> int:
    fd = os.memfd_create("sandbox-spec", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd
