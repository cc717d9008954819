"""What runs in a fresh sandbox until its command: the plan of the spec, step by step.

This is a copy of the zygote, without any thread. All modules are loaded before; from `Root.enter`
on nothing is imported and no file of the image is opened but the command's own path, by access(2).
What goes wrong is reported as (status, sentence, remedy) on the status socket.
"""

import marshal
import os
import resource
from _socket import MSG_DONTWAIT, SCM_RIGHTS, SOL_SOCKET, socket
from fcntl import F_DUPFD_CLOEXEC, fcntl, ioctl
from stat import S_ISDIR, S_ISFIFO
from typing import NoReturn

from builder.errors import (
    EXIT_ENGINE,
    EXIT_NOT_EXECUTABLE,
    EXIT_NOT_FOUND,
    KernelError,
    StartError,
)
from builder.kernel import mounts, seccomp, syscalls
from builder.sandbox import console, credentials, trampoline
from builder.sandbox.command import find_command
from builder.sandbox.filesystems import Skeleton
from builder.sandbox.rootfs import Root
from builder.sandbox.spec import Running, SandboxSpec, Stub

_STATUS_FD = 3
_TRAMPOLINE_FD = 4
_FIRST_FREE_FD = 5
_MAX_FD = 0x7FFF_FFFF
_SIOCSIFFLAGS = 0x8914
_UP_AND_RUNNING = 0x41
_FAILURE = "the sandbox could not be set up"


def run(
    spec: SandboxSpec,
    descriptors: tuple[int, ...],
    joined_fds: tuple[int, ...],
    status: socket,
    trampoline_fd: int,
    *,
    skeleton: Skeleton | None = None,
) -> NoReturn:
    """Become the sandbox's first process. `descriptors`: stdin, stdout, stderr, then the passed.

    A spare process brings a skeleton of file systems with it.
    """
    init = _Init(spec, descriptors, joined_fds, status, trampoline_fd)
    init.skeleton = skeleton
    try:
        init.run()
    except StartError as error:
        report = (error.exit_status, error.what, error.fix, 0)
    except KernelError as error:
        report = (EXIT_ENGINE, f"{_FAILURE}: {error.what}", error.fix, error.errno)
    except OSError as error:
        report = (EXIT_ENGINE, f"{_FAILURE}: {error}", None, error.errno or 0)
    except BaseException as error:  # noqa: BLE001 - the process boundary
        report = (EXIT_ENGINE, f"{_FAILURE}: {error!r}", None, 0)
    try:
        init.report(*report)
    finally:
        os._exit(EXIT_NOT_FOUND)


class _Init:
    """The state of a start: descriptors that later steps need."""

    def __init__(
        self,
        spec: SandboxSpec,
        descriptors: tuple[int, ...],
        joined_fds: tuple[int, ...],
        status: socket,
        trampoline_fd: int,
    ) -> None:
        self._spec = spec
        self._stdio = descriptors[:3]
        self._passed = descriptors[3:]
        self._joined_fds = joined_fds
        self._status = status
        self._trampoline_fd = trampoline_fd
        self.skeleton: Skeleton | None = None
        self._stubs: tuple[Stub, ...] = ()
        self._filter: bytes | None = None
        self._is_ready = False

    def run(self) -> NoReturn:
        """Do everything in order, and exec."""
        spec = self._spec
        self._filter = filter_of(spec)  # reads a file of ours if it is no common one
        os.umask(0)
        os.setsid()
        for number, fd in enumerate(self._stdio):
            if S_ISDIR(os.fstat(fd).st_mode):
                raise StartError("a directory is no standard input or output")
            os.dup2(fd, number)
        self._join_cgroups()
        if isinstance(spec.root, Running):
            self._join()
        else:
            self._create()
        self._give_pipes_to_user()
        self._keep_only_what_exec_needs()
        os.umask(spec.umask)
        credentials.apply_rlimits(spec)
        self._change_directory()
        credentials.become(spec)
        self._stop_if_abandoned()
        path = find_command(spec)
        self._status.send(marshal.dumps(("ready", tuple(tuple(stub) for stub in self._stubs))))
        self._is_ready = True
        self._exec(path)

    def report(self, status: int, what: str, fix: str | None, errno: int) -> None:
        """Tell the launcher of a failure; once ready, by errno alone, as the trampoline does."""
        if self._is_ready:
            self._status.send(errno.to_bytes(4, "little"))
        else:
            self._status.send(marshal.dumps(("error", status, what, fix)))

    def _join_cgroups(self) -> None:
        spec = self._spec
        for file in spec.cgroups:
            fd = self._passed[file] if isinstance(file, int) else os.open(file, os.O_WRONLY)
            os.write(fd, b"0")
        if spec.oom_score_adj is not None:
            with open("/proc/self/oom_score_adj", "w", encoding="utf-8") as file_object:
                file_object.write(str(spec.oom_score_adj))

    def _join(self) -> None:
        """Enter the namespaces of a running container; the PID namespace is entered already."""
        kinds = (
            syscalls.CLONE_NEWNS
            | syscalls.CLONE_NEWCGROUP
            | syscalls.CLONE_NEWIPC
            | syscalls.CLONE_NEWUTS
            | syscalls.CLONE_NEWNET
        )
        if len(self._joined_fds) == 1:
            syscalls.setns(self._joined_fds[0], kinds)
        for fd in self._joined_fds[1:]:  # the first is the PID namespace
            syscalls.setns(fd, 0)
        os.chdir("/")
        if self._spec.is_tty:
            dev_fd = os.open("/dev", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            master_fd, slave_fd, _ = console.open_terminal(dev_fd)
            self._use_terminal(master_fd, slave_fd)

    def _create(self) -> None:
        """Make the new container around us."""
        spec = self._spec
        if spec.cgroup == "private":  # by now we are in the group that is to be its root
            syscalls.unshare(syscalls.CLONE_NEWCGROUP)
        for namespace in (spec.network, spec.ipc, spec.uts, spec.cgroup):
            if isinstance(namespace, int):
                syscalls.setns(self._passed[namespace], 0)
        if spec.network == "none":
            bring_up_loopback()
        if spec.hostname and spec.uts != "host":
            syscalls.set_hostname(spec.hostname)
        if spec.domainname and spec.uts != "host":
            syscalls.set_domainname(spec.domainname)
        root = Root(spec, self._passed, self.skeleton)
        standard = root.fill()
        if spec.is_cwd_created:
            root.make_cwd()
        if spec.is_tty:
            self._use_terminal(*standard.open_console())
        root.enter()
        self._stubs = tuple(root.points.stubs)

    def _use_terminal(self, master_fd: int, slave_fd: int) -> None:
        spec = self._spec
        if spec.console_size != (0, 0):
            console.set_size(slave_fd, *spec.console_size)
        if spec.uid and not spec.fake_ownership:
            os.fchown(slave_fd, spec.uid, -1)
        console.take_control(slave_fd)
        for number in range(3):
            os.dup2(slave_fd, number)
        rights = [(SOL_SOCKET, SCM_RIGHTS, master_fd.to_bytes(4, "little"))]
        self._status.sendmsg([marshal.dumps(("console",))], rights)

    def _give_pipes_to_user(self) -> None:
        """Let the user open /dev/stdout again, as a log file is often a link to it."""
        if not self._spec.uid or self._spec.fake_ownership:
            return
        for number in range(3):
            if S_ISFIFO(os.fstat(number).st_mode):
                os.fchown(number, self._spec.uid, -1)

    def _keep_only_what_exec_needs(self) -> None:
        """Close every descriptor but stdio, the status socket and the trampoline."""
        status_fd = fcntl(self._status.fileno(), F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
        trampoline_fd = fcntl(self._trampoline_fd, F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
        self._status.detach()
        os.dup2(status_fd, _STATUS_FD)
        os.dup2(trampoline_fd, _TRAMPOLINE_FD, inheritable=False)
        self._status = socket(fileno=_STATUS_FD)
        try:
            syscalls.close_range(_FIRST_FREE_FD, _MAX_FD)
        except KernelError:
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            os.closerange(_FIRST_FREE_FD, hard if 0 < hard < 1 << 20 else 1 << 20)

    def _change_directory(self) -> None:
        """Go to the working directory and make sure that it is one of the container's."""
        cwd = self._spec.cwd
        try:
            os.chdir(cwd)
        except OSError as error:
            raise StartError(
                f"working directory {cwd}: {os.strerror(error.errno or 0)}",
                status=EXIT_NOT_EXECUTABLE,
            ) from None
        if not syscalls.kernel_cwd().startswith("/"):
            raise StartError(
                f"working directory {cwd} is outside the container", status=EXIT_NOT_EXECUTABLE
            )

    def _stop_if_abandoned(self) -> None:
        """End if the launcher is gone: it may have been while no death signal was set."""
        try:
            if self._status.recv(1, MSG_DONTWAIT) == b"":
                os._exit(EXIT_NOT_FOUND)
        except BlockingIOError:
            pass

    def _exec(self, path: str) -> NoReturn:
        spec = self._spec
        argv = trampoline.arguments(_STATUS_FD, path, spec.argv, with_init=spec.with_init)
        arguments = [argument.encode("utf-8", "surrogateescape") for argument in argv]
        environment = {}
        for item in spec.env:
            name, _, value = item.encode("utf-8", "surrogateescape").partition(b"=")
            if name:  # no program can ask for a variable without one, and execve here refuses it
                environment[name] = value
        syscalls.set_signal_mask(0)
        if self._filter is not None:
            syscalls.seccomp(self._filter)
        try:
            os.execve(_TRAMPOLINE_FD, arguments, environment)  # noqa: S606 - never a shell
        except PermissionError:  # a filter without execveat
            os.execve(mounts.place(_TRAMPOLINE_FD), arguments, environment)  # noqa: S606


def filter_of(spec: SandboxSpec) -> bytes | None:
    """Give the system call filter; that for the default capabilities is compiled already."""
    if spec.seccomp == "default":
        return seccomp.default_profile(spec.capabilities, fake_ownership=spec.fake_ownership)
    return spec.seccomp


def bring_up_loopback() -> None:
    """Let a new network namespace talk to itself."""
    request = b"lo".ljust(16, b"\0") + _UP_AND_RUNNING.to_bytes(2, "little") + bytes(22)
    inet = socket(2, 2)
    ioctl(inet.fileno(), _SIOCSIFFLAGS, request)
    inet.close()
