"""The forerunner: a process that parses and looks around while this one loads the engine.

It leaves the syntax nodes where the build looks for them first, then it is a scout in the context
(`scout`), and in the end it becomes the parent of the sandboxes (`sandbox.recruit`). The build does
for itself what is not there in time; nor does a wrong guess of Dockerfile or context do any harm.
It is an interpreter of its own: what one forks has memory in common with its child, and pays for
each page that it writes to. To start it next to nothing is imported.
"""

import posix
import sys
import time
from _socket import AF_UNIX, SOCK_SEQPACKET, socket, socketpair
from _stat import S_ISDIR, S_ISREG

PARSED = "parsed"
"""The folder of the state directory that keeps syntax nodes."""
_MAX_CHARACTERS = 1 << 20
"""Longer files are left to the build, which knows their limit."""
_SIGKILL = 9
_PROGRAM = """\
import sys
words = sys.argv[1:{count}]
sys.path[:] = sys.argv[{count}:]
from builder.cli.forerun import forerun
forerun(words)
"""


class Forerunner:
    """A running forerunner, or none where it would bring nothing."""

    def __init__(
        self,
        pid: int | None,
        task: tuple[object, ...] = (),
        *,
        parsing_fd: int = -1,
        scout_fd: int = -1,
        requests: socket | None = None,
        since_ns: int | None = None,
    ) -> None:
        """Take over a child, and what it was asked for.

        `parsing_fd` is a pipe's end that it closes when it has parsed; on `requests` it can be made
        a zygote.
        """
        self._pid = pid
        self._task = task
        self._parsing_fd = parsing_fd
        self._requests = requests
        self.scout_fd = scout_fd
        """The memory file that it writes what it finds to; -1 if there is none."""
        self.since_ns = time.time_ns() if since_ns is None else since_ns
        """When it began (Unix time), or before."""

    @classmethod
    def start(cls, context: str, dockerfile: str | None, root: str) -> "Forerunner":
        """Start it, if the Dockerfile is a file of the client and there is a processor to spare."""
        path = _path(context, dockerfile)
        task = _task(path, context, root)
        if path is None or not is_processor_spare() or not S_ISDIR(_mode(root)):
            return cls(None, task)
        parsing_fd, end_fd = posix.pipe2(posix.O_CLOEXEC)
        scout_fd = posix.memfd_create("scout", posix.MFD_CLOEXEC)
        requests, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        since_ns = time.time_ns()
        pid = _spawned((path, context, root), (end_fd, scout_fd, theirs.fileno()))
        posix.close(end_fd)
        theirs.close()
        return cls(
            pid,
            task,
            parsing_fd=parsing_fd,
            scout_fd=scout_fd,
            requests=requests,
            since_ns=since_ns,
        )

    def is_for(self, context: str, dockerfile: str | None, root: str) -> bool:
        """Whether it does what it would, were it started for this."""
        return self._task == _task(_path(context, dockerfile), context, root)

    def wait(self) -> None:
        """Wait until it has left the syntax nodes: a text that is known takes it no time."""
        if self._parsing_fd >= 0:
            posix.read(self._parsing_fd, 1)
            posix.close(self._parsing_fd)
            self._parsing_fd = -1

    def released(self) -> tuple[socket, int] | None:
        """Give it away to be a zygote, with the socket for that; None if there is none."""
        requests, pid = self._requests, self._pid
        if requests is None or pid is None:
            return None
        self._requests = self._pid = None
        return requests, pid

    def close(self) -> None:
        """End it, whatever it is at, unless it was given away."""
        if self._pid is not None:
            posix.kill(self._pid, _SIGKILL)
            try:  # noqa: SIM105 - without contextlib
                posix.waitpid(self._pid, 0)
            except ChildProcessError:  # somebody else waited for any child
                pass
            self._pid = None
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        for fd in (self._parsing_fd, self.scout_fd):
            if fd >= 0:
                posix.close(fd)
        self._parsing_fd = self.scout_fd = -1


NONE = Forerunner(None)


def is_processor_spare() -> bool:
    """Whether anything can run beside this process."""
    return len(posix.sched_getaffinity(0)) > 1


def _spawned(names: tuple[str, str, str], fds: tuple[int, int, int]) -> int | None:
    """Start another interpreter that will `run`; its pid, or None where that cannot be."""
    words = [*names, *map(str, fds), str(posix.getpid())]
    program = _PROGRAM.format(count=len(words) + 1)
    flags = ["-B"] if sys.dont_write_bytecode else []
    argv = [sys.executable, *flags, "-X", "utf8", "-IS", "-c", program, *words, *sys.path]
    silence = [(posix.POSIX_SPAWN_OPEN, fd, "/dev/null", posix.O_RDWR, 0) for fd in range(3)]
    for fd in fds:
        posix.set_inheritable(fd, True)  # noqa: FBT003 - its only argument
    try:
        return posix.posix_spawn(sys.executable, argv, posix.environ, file_actions=silence)
    except (OSError, ValueError):  # ValueError: of no interpreter's name
        return None


def _path(context: str, dockerfile: str | None) -> str | None:
    if not S_ISDIR(_mode(context)):
        return None
    path = dockerfile or f"{context.rstrip('/')}/Dockerfile"
    return path if S_ISREG(_mode(path)) else None  # of a pipe nothing would be left


def _task(path: str | None, context: str, root: str) -> tuple[object, ...]:
    """Tell tasks apart, however the state directory was written."""
    try:
        status = posix.stat(root)
    except (OSError, ValueError):
        return (path, context)
    return (path, context, status.st_dev, status.st_ino)


def _mode(path: str) -> int:
    """Give the type and permissions of a file; 0 if there is none."""
    try:
        return posix.stat(path).st_mode
    except (OSError, ValueError):
        return 0


def run(words: list[str]) -> None:
    """Be a forerunner: the process's own side; does not return."""
    path, context, root = words[:3]
    end_fd, scout_fd, requests_fd, engine_pid = map(int, words[3:])
    posix.setsid()  # keys of the terminal are for the engine only
    for fd in (scout_fd, requests_fd):
        posix.set_inheritable(fd, False)  # noqa: FBT003 - its only argument
    from contextlib import suppress

    with suppress(Exception):  # the build will find it, and say so
        _parse(path, f"{root}/{PARSED}")
    posix.close(end_fd)
    from builder.engine.scout import scout
    from builder.sandbox.recruit import Recruit

    recruit = Recruit(socket(fileno=requests_fd), engine_pid)
    with suppress(Exception):  # likewise
        scout(context, root, scout_fd, is_wanted=lambda: not recruit.is_wanted())
    posix.close(scout_fd)
    recruit.serve()


def _parse(path: str, cache_dir: str) -> None:
    from builder.dockerfile.nodes import read_nodes
    from builder.source import Source

    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read(_MAX_CHARACTERS + 1)
    if len(text) <= _MAX_CHARACTERS:
        read_nodes(Source(path, text), cache_dir=cache_dir)
