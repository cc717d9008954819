"""The zygote's own side: requests in, sandboxes out, their ends reported.

While it waits, it has one *spare* at hand: a first process that is born into the usual namespaces
already, and in the network of the request before. A request for just these wakes it, and saves the
time of the clone; another network can still be entered, or made.
"""

import gc
import marshal
import os
import select
import signal
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from builder.errors import KernelError, StartError
from builder.kernel import pidfd, syscalls
from builder.sandbox import init, trampoline
from builder.sandbox.filesystems import Skeleton
from builder.sandbox.launch import (
    USUAL_FLAGS,
    WAKE,
    Request,
    decode,
    encode,
    exit_of,
    receive,
    rights,
    spawn,
    warm_up,
)
from builder.sandbox.spec import Directory, SandboxSpec

_MSG_NOSIGNAL = 0x4000
_MAX_FDS = 250
_FIRST_PASSED = 5
"""Behind the life socket, the spec, and the three standard streams."""
_SIGKILL = 9
_SIGCHLD_MASK = 1 << 16
_USUAL = SandboxSpec(Directory("/"), (), seccomp="default", is_shm_strict=False)
"""As the steps of a build are."""
_IDLE_MS = 1
"""A spare is made when no request came for so long; the last sandbox is well on its way then."""


class _Newborn(NamedTuple):
    """A first process that does not run its command yet."""

    pid: int
    process_fd: int
    launcher_end: socket
    """Of the status socket."""
    wake: socket | None = None
    """A spare's: sending the request wakes it, closing ends it."""
    has_network: bool = False
    """Whether a spare has left the host's network; it may not be able to go back."""


class Server:
    """Single-threaded, and small: it is copied for every sandbox."""

    def __init__(self, requests: socket, parent_pid: int) -> None:
        """Take over the socket to the main process."""
        self._requests = requests
        self._lives: dict[int, socket] = {}
        self._spare: _Newborn | None = None
        self._network_fd = -1
        """Of the request before, if it had one."""
        self._parent_fd = _open_parent(parent_pid)
        self._signal_fd = -1
        self._trampoline_fd = -1
        self._mounts = _MountTable()

    def serve(self) -> NoReturn:
        """Answer requests until the main process is gone."""
        gc.disable()
        os.chdir("/")
        null_fd = os.open("/dev/null", os.O_RDWR)
        for number in range(3):
            os.dup2(null_fd, number)
        reset_signals()
        syscalls.set_signal_mask(_SIGCHLD_MASK)
        self._signal_fd = syscalls.signalfd(_SIGCHLD_MASK)
        self._trampoline_fd = trampoline.memory_file()
        init.filter_of(_USUAL)
        warm_up()
        poll = select.poll()
        for fd in (self._requests.fileno(), self._signal_fd, self._parent_fd):
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        while True:
            ready = dict(poll.poll(_IDLE_MS if self._spare is None else None))
            if not ready:
                self._make_spare()
            elif not self._is_wanted(ready):
                self._end()

    def _is_wanted(self, ready: dict[int, int]) -> bool:
        """Deal with what is ready; False when the main process ended or said so."""
        if self._signal_fd in ready:
            os.read(self._signal_fd, 4096)
            self._reap()
        if self._parent_fd in ready:
            return False
        return self._requests.fileno() not in ready or self._answer()

    def _answer(self) -> bool:
        message, fds = receive(self._requests, _MAX_FDS)
        if message == WAKE:
            return True
        request = marshal.loads(message) if message else None  # noqa: S302 - the main process's
        if request is None:
            return False
        if not fds:
            pid, number = request
            if pid in self._lives:
                os.kill(pid, number)
            return True
        self._launch(Request(*request), fds)
        return True

    def _launch(self, request: Request, fds: list[int]) -> None:
        life = socket(fileno=fds[0])
        newborn = None
        try:
            if request.is_usual:
                newborn = self._woken(tuple(fds[1:])) if self._suits(request) else None
                self._expect(fds[_FIRST_PASSED + request.network] if request.network >= 0 else -1)
            if newborn is None:
                newborn = self._born(request, fds[1:])
        except KernelError as error:
            _tell(life, ("refused", error.syscall, error.errno), ())
            life.close()
        else:
            self._lives[newborn.pid] = life
            ends = (newborn.launcher_end.fileno(),)
            born = (*ends, newborn.process_fd) if newborn.process_fd >= 0 else ends
            _tell(life, ("born", newborn.pid), born)
            _release(newborn)
        for fd in fds[1:]:
            os.close(fd)

    def _suits(self, request: Request) -> bool:
        """Whether the spare, if there is one, can come to the network that is wanted."""
        is_of_host = request.network < 0 and not request.flags & syscalls.CLONE_NEWNET
        return not (is_of_host and self._spare is not None and self._spare.has_network)

    def _expect(self, network_fd: int) -> None:
        """Make the next spare for the network of this request."""
        if self._network_fd >= 0:
            os.close(self._network_fd)
        self._network_fd = -1 if network_fd < 0 else os.dup(network_fd)

    def _born(self, request: Request, fds: list[int]) -> _Newborn:
        """Clone the process that was asked for."""
        passed = tuple(fds[1 : len(fds) - request.joined_count])
        joined_fds = tuple(fds[len(fds) - request.joined_count :])
        launcher_end, status = socketpair(AF_UNIX, SOCK_SEQPACKET)
        try:
            pid, process_fd = spawn(request.flags, request.pid_namespace, passed[3:], joined_fds)
            if pid == 0:
                try:
                    launcher_end.close()
                    init.run(_loaded(fds[0]), passed, joined_fds, status, self._trampoline_fd)
                finally:
                    os._exit(1)
        except KernelError:
            launcher_end.close()
            raise
        finally:
            status.close()
        return _Newborn(pid, process_fd, launcher_end)

    def _make_spare(self) -> None:
        """Clone a process for the next usual request."""
        self._mounts.has_changed()
        launcher_end, status = socketpair(AF_UNIX, SOCK_SEQPACKET)
        wake, woken_by = socketpair(AF_UNIX, SOCK_SEQPACKET)
        pid, process_fd = syscalls.clone(USUAL_FLAGS)
        if pid == 0:
            try:
                wake.close()
                launcher_end.close()
                self._wait_as_spare(woken_by, status)
            finally:
                os._exit(1)
        status.close()
        woken_by.close()
        has_network = self._network_fd >= 0
        self._spare = _Newborn(pid, process_fd, launcher_end, wake, has_network)

    def _wait_as_spare(self, woken_by: socket, status: socket) -> None:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
        decode(encode(_USUAL))  # touches memory that is copied on the first write
        skeleton = None
        with suppress(KernelError, StartError, OSError):  # then it is tried again, and reported
            skeleton = Skeleton(_USUAL, self._network_fd)
        message, fds = receive(woken_by, _MAX_FDS)
        if message:
            woken_by.close()
            spec, passed = _loaded(fds[0]), tuple(fds[1:])
            if spec.network == "none":
                syscalls.unshare(syscalls.CLONE_NEWNET)
            init.run(spec, passed, (), status, self._trampoline_fd, skeleton=skeleton)

    def _woken(self, fds: tuple[int, ...]) -> _Newborn | None:
        """Hand the request to the spare; None if there is none, or it sees old mounts."""
        spare, self._spare = self._spare, None
        if spare is None or spare.wake is None:
            return None
        if not self._mounts.has_changed():
            with suppress(OSError):
                spare.wake.sendmsg([b"!"], rights(fds), _MSG_NOSIGNAL)
                return spare
        _release(spare)
        return None

    def _reap(self) -> None:
        while True:
            try:
                pid, wait_status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            life = self._lives.pop(pid, None)
            if life is not None:
                _tell(life, tuple(exit_of(wait_status, usage)), ())
                life.close()
            elif self._spare is not None and self._spare.pid == pid:
                _release(self._spare)
                self._spare = None

    def _end(self) -> NoReturn:
        """Kill every sandbox, wait for their processes, and leave."""
        pids = [*self._lives, *([self._spare.pid] if self._spare else [])]
        for pid in pids:
            os.kill(pid, _SIGKILL)
        for pid in pids:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)
        os._exit(0)


class _MountTable:
    """Notices changes of the mount table, which the zygote shares with the main process."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLPRI)

    def has_changed(self) -> bool:
        """Whether anything was mounted or unmounted since the last call: proc(5)."""
        return bool(self._poll.poll(0))


def reset_signals() -> None:
    """Give every signal its default action: ignored ones would stay so in the command."""
    for number in signal.valid_signals():
        if signal.getsignal(number) not in {signal.SIG_DFL, None}:
            with suppress(OSError):
                signal.signal(number, signal.SIG_DFL)


def _open_parent(pid: int) -> int:
    """Open a pidfd of the main process; -1 where there are none (before 5.3)."""
    fd = pidfd.open_process(pid)
    if os.getppid() != pid:
        os._exit(1)
    return fd


def _tell(life: socket, message: tuple[Any, ...], fds: tuple[int, ...]) -> None:
    """Report to the launcher, who may have lost interest."""
    with suppress(OSError):
        life.sendmsg([marshal.dumps(message)], rights(fds) if fds else [], _MSG_NOSIGNAL)


def _release(newborn: _Newborn) -> None:
    newborn.launcher_end.close()
    if newborn.wake is not None:
        newborn.wake.close()
    if newborn.process_fd >= 0:
        os.close(newborn.process_fd)


def _loaded(spec_fd: int) -> SandboxSpec:
    size = os.fstat(spec_fd).st_size
    pieces = bytearray()
    while piece := os.pread(spec_fd, size - len(pieces), len(pieces)):
        pieces += piece
    return decode(bytes(pieces))
