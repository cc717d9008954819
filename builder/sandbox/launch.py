"""The launcher's side of a sandbox: the request, what comes back, waiting and killing.

Two socket pairs belong to each sandbox. On the *status* socket its first process reports mount
points, its terminal and errors; exec closes it. On the *life* socket the parent (the zygote)
reports the pid and, when every process of the PID namespace is gone, how it ended.
"""

import marshal
import os
from _socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET, socket
from _thread import RLock, allocate_lock
from errno import EINVAL
from typing import TYPE_CHECKING, Any, Protocol, Self

from builder.errors import KernelError, StartError
from builder.kernel import pidfd, syscalls
from builder.sandbox import spec as values
from builder.sandbox.command import exec_error
from builder.sandbox.spec import Namespace, Running, SandboxSpec, Stub
from builder.values import NamedTuple

if TYPE_CHECKING:
    import resource

_SIGKILL = 9
_MSG_CMSG_CLOEXEC = 0x40000000
_MESSAGE_BYTES = 1 << 18
_ERRNO_BYTES = 4
_KINDS: tuple[type[Any], ...] = (
    SandboxSpec,
    values.Overlay,
    values.Directory,
    Running,
    values.Bind,
    values.OverlayMount,
    values.Tmpfs,
    values.FileMount,
    values.Device,
    values.Rlimit,
)
JOINED = ("pid", "mnt", "cgroup", "ipc", "uts", "net")
"""The namespaces that stand in for a pidfd before 5.8."""
_SETNS_TAKES_PIDFD = (5, 8)
USUAL_FLAGS = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
)
WAKE = b"wake"
"""Said to a zygote that still sleeps."""
COME = b"come"
"""Said to a process that shall be the zygote, with what `namespaces.come` needs."""
HAS_COME = b"y"
"""Its answer; if it cannot, it ends."""
_NUMBER_OF_KIND = {kind: number for number, kind in enumerate(_KINDS)}


class Started(NamedTuple):
    """What is known once the command runs."""

    pid: int
    """Of the first process, in the launcher's PID namespace."""
    stubs: tuple[Stub, ...]
    """For `stubs.remove_stubs` when the sandbox has ended."""
    console: int | None
    """The terminal's master descriptor, now the caller's to close."""


class Exit(NamedTuple):
    """How a sandbox ended."""

    status: int
    """As a shell counts: 128 + n for signal n."""
    signal: int | None
    max_rss_bytes: int
    user_s: float
    system_s: float


def encode(spec: SandboxSpec) -> bytes:
    """Write a spec as bytes for a process of the same program."""
    plain: Any = _plain(spec)
    return marshal.dumps(plain)


def decode(encoded: bytes) -> SandboxSpec:
    """Read what `encode` wrote."""
    spec = _valued(marshal.loads(encoded))  # noqa: S302 - our own bytes, from our own process
    assert isinstance(spec, SandboxSpec)  # noqa: S101 - narrows the type
    return spec


def warm_up() -> None:
    """Have the constructors of all values of a sandbox made, which each sandbox would repeat.

    What the zygote has made its copies need not make.
    """
    kinds: tuple[type[Any], ...] = (*_KINDS, Stub)
    for kind in kinds:
        kind(*range(len(kind._fields)))


def _plain(value: object) -> object:
    if not isinstance(value, tuple):
        return value
    fields = [_plain(field) for field in value]
    number = _NUMBER_OF_KIND.get(type(value))
    return tuple(fields) if number is None else [number, *fields]  # nothing else is a list


def _valued(plain: object) -> object:
    if isinstance(plain, tuple):
        return tuple(_valued(item) for item in plain)
    if isinstance(plain, list):
        return _KINDS[plain[0]](*(_valued(item) for item in plain[1:]))
    return plain


def clone_flags(spec: SandboxSpec) -> int:
    """Tell which namespaces the first process is born into."""
    if isinstance(spec.root, Running):
        return 0
    flags = syscalls.CLONE_NEWNS
    if spec.pid == "private":
        flags |= syscalls.CLONE_NEWPID
    if spec.ipc == "private":
        flags |= syscalls.CLONE_NEWIPC
    if spec.uts == "private":
        flags |= syscalls.CLONE_NEWUTS
    if spec.network == "none":
        flags |= syscalls.CLONE_NEWNET
    return flags


class Request(NamedTuple):
    """What the parent of a sandbox must know before its first process exists."""

    flags: int
    """Of the clone."""
    pid_namespace: Namespace
    joined_count: int
    """How many of the descriptors, at the end, are those of `open_namespaces`."""
    is_usual: bool
    """Whether a process born into the usual new namespaces will do, whatever its network is."""
    network: int
    """Which of the caller's descriptors is that of the network; -1 if none is."""


def request_of(spec: SandboxSpec, joined_count: int) -> Request:
    """Write the request for a sandbox. Its network can be entered, or made, later on."""
    flags = clone_flags(spec)
    is_usual = flags & ~syscalls.CLONE_NEWNET == USUAL_FLAGS
    network = spec.network if isinstance(spec.network, int) else -1
    return Request(flags, spec.pid, joined_count, is_usual, network)


def open_namespaces(spec: SandboxSpec) -> tuple[int, ...]:
    """Open what a process joining a running container needs: a pidfd, or before 5.8 namespaces.

    Raises StartError.
    """
    if not isinstance(spec.root, Running):
        return ()
    pid = spec.root.pid
    try:
        if _kernel_release() >= _SETNS_TAKES_PIDFD:
            return (os.pidfd_open(pid),)
        return tuple(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in JOINED)
    except OSError as error:
        raise StartError(
            f"process {pid} of the container: {os.strerror(error.errno or 0)}",
            fix="start the container first",
        ) from None


def _kernel_release() -> tuple[int, ...]:
    major, _, rest = os.uname().release.partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    return int(major), int(digits or 0)


def spawn(
    flags: int, pid_namespace: Namespace, passed_fds: tuple[int, ...], joined_fds: tuple[int, ...]
) -> tuple[int, int]:
    """Clone the (single-threaded) caller; return pid and pidfd, in the child (0, -1)."""
    if pid_namespace == "private" and not joined_fds:
        return syscalls.clone(flags)
    if joined_fds:
        return _spawn_among_others(flags, joined_fds[0])
    target_fd = passed_fds[pid_namespace] if isinstance(pid_namespace, int) else -1
    return _spawn_among_others(flags, target_fd)


def _spawn_among_others(flags: int, pid_namespace_fd: int) -> tuple[int, int]:
    """Clone into a PID namespace that has other processes (-1: our own).

    Whoever joins one cannot come back, if it is not the owner of its own: a process between joins,
    and makes a sibling. That is not dumpable, so that no process of a container can touch it before
    its exec, when it still is a copy of the engine.
    """
    read_fd, write_fd = os.pipe()
    between, _ = syscalls.clone(0)
    if between == 0:
        answer = -EINVAL
        try:
            answer = _clone_sibling(flags, pid_namespace_fd)
        except KernelError as error:
            answer = -error.errno
        finally:
            if answer != 0:
                os.write(write_fd, answer.to_bytes(8, "little", signed=True))
                os._exit(0)
        os.close(read_fd)
        os.close(write_fd)
        return 0, -1
    os.close(write_fd)
    answer = int.from_bytes(os.read(read_fd, 8), "little", signed=True)
    os.close(read_fd)
    os.waitpid(between, 0)
    if answer <= 0:
        raise KernelError("setns", -answer, "the container's PID namespace")
    return answer, pidfd.open_process(answer)


def _clone_sibling(flags: int, pid_namespace_fd: int) -> int:
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    if pid_namespace_fd >= 0:
        syscalls.setns(pid_namespace_fd, syscalls.CLONE_NEWPID)
    return syscalls.clone(flags | syscalls.CLONE_PARENT)[0]


def receive(source: socket, max_fds: int) -> tuple[bytes, list[int]]:
    """Receive one message with the descriptors that came along (close-on-exec)."""
    message, control, _, _ = source.recvmsg(
        _MESSAGE_BYTES, CMSG_SPACE(4 * max_fds), _MSG_CMSG_CLOEXEC
    )
    fds: list[int] = []
    for level, kind, content in control:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            usable = len(content) - len(content) % 4
            fds += (
                int.from_bytes(content[at : at + 4], "little", signed=True)
                for at in range(0, usable, 4)
            )
    return message, fds


def rights(fds: tuple[int, ...]) -> list[tuple[int, int, bytes]]:
    """Pack descriptors to go along with a message."""
    return [(SOL_SOCKET, SCM_RIGHTS, b"".join(fd.to_bytes(4, "little") for fd in fds))]


class Lifeline(Protocol):
    """What a parent can say of and do to a first process."""

    def pid(self) -> int:
        """Give the pid, once it is known; KernelError if there will be none."""

    def status(self) -> socket:
        """Give the launcher's end of the status socket, once the process exists."""

    def fileno(self) -> int:
        """Give a descriptor that is readable when the process has ended; -1 if there is none."""

    def has_ended(self, timeout_s: float | None) -> bool:
        """Wait so long (None: for ever) for the end."""

    def take_exit(self) -> Exit:
        """Block until the end and tell of it; KernelError if the parent died."""

    def kill(self, signal: int) -> None:
        """Send a signal; nothing happens if the process is gone."""

    def close(self) -> None:
        """Release the descriptors."""


class Sandbox:
    """A container's first process, from the launcher's side; a context manager.

    All methods may be called by several threads.
    """

    def __init__(self, lifeline: Lifeline, name: str) -> None:
        """Take over a lifeline; `name` is the command, for messages."""
        self._lifeline = lifeline
        self._name = name
        self._start_lock = allocate_lock()
        self._exit_lock = allocate_lock()
        self._kill_lock = RLock()
        self._is_closed = False
        self._started: Started | None = None
        self._start_error: StartError | None = None
        self._exit: Exit | None = None

    def __enter__(self) -> Self:
        """Return the sandbox."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close it."""
        self.close()

    @property
    def pid(self) -> int:
        """The first process, in the launcher's PID namespace; waits until it exists."""
        return self._lifeline.pid()

    def started(self) -> Started:
        """Wait until the command runs; StartError (125, 126, 127) if it never will."""
        with self._start_lock:
            if self._start_error is None and self._started is None:
                try:
                    self._started = self._read_status()
                except StartError as error:
                    self._start_error = error
                except KernelError as error:
                    self._start_error = StartError(error.what, fix=error.fix)
            if self._start_error is not None:
                raise self._start_error
            assert self._started is not None  # noqa: S101 - narrows the type
            return self._started

    def wait(self, timeout_s: float | None = None) -> Exit | None:
        """Wait for the end of every process in the sandbox; None when the time is over."""
        if not self._lifeline.has_ended(timeout_s):
            return None
        with self._exit_lock:
            if self._exit is None:
                self._exit = self._lifeline.take_exit()
            return self._exit

    def kill(self, signal: int = _SIGKILL) -> None:
        """Signal the first process; with SIGKILL the whole sandbox ends.

        The thread that cancels may do this while the sandbox is closed: its descriptor must not be
        another's by then.
        """
        with self._kill_lock:
            if self._exit is None and not self._is_closed:
                self._lifeline.kill(signal)

    def fileno(self) -> int:
        """Give a descriptor that is readable when `wait` will not block; call `started` first."""
        return self._lifeline.fileno()

    def close(self) -> None:
        """Kill what still runs, wait for its end, release the descriptors."""
        try:
            if self._exit is None:
                self.kill()
                self.wait()
        except KernelError:
            pass  # it never existed, or died with its parent
        finally:
            with self._kill_lock:
                self._is_closed = True
                self._lifeline.close()

    def _read_status(self) -> Started:
        status = self._lifeline.status()
        console, is_ready = None, False
        stubs: tuple[Stub, ...] = ()
        while True:
            message, fds = receive(status, 1)
            if fds:
                console = fds[0]
            if not message:
                break
            if is_ready:
                raise self._failed_exec(message, console)
            kind, *fields = marshal.loads(message)  # noqa: S302 - no hostile process exists yet
            if kind == "error":
                if console is not None:
                    os.close(console)
                self.wait()
                exit_status, what, fix = fields
                raise StartError(what, status=exit_status, fix=fix)
            if kind == "ready":
                is_ready = True
                stubs = tuple(Stub(*stub) for stub in fields[0])
        if not is_ready:
            raise StartError("the sandbox was killed while it started")
        return Started(self.pid, stubs, console)

    def _failed_exec(self, message: bytes, console: int | None) -> StartError:
        """Translate the trampoline's errno; anybody may have sent it by now."""
        if console is not None:
            os.close(console)
        self.wait()
        return exec_error(self._name, int.from_bytes(message[:_ERRNO_BYTES], "little", signed=True))


def exit_of(wait_status: int, usage: "resource.struct_rusage") -> Exit:
    """Translate what wait4(2) says."""
    code = os.waitstatus_to_exitcode(wait_status)
    signal = -code if code < 0 else None
    status = 128 - code if code < 0 else code
    return Exit(status, signal, usage.ru_maxrss * 1024, usage.ru_utime, usage.ru_stime)
