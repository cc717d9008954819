"""The forerunner: a process that parses and looks around while this one loads the engine.

It leaves the syntax nodes where the build looks for them first, and then it is a scout in the
context (`scout`). The build does for itself what is not there in time; nor does a wrong guess of
Dockerfile or context do any harm. It is forked when what both processes need is loaded, and no
more; only built-in modules are used until then.
"""

import posix
import time
from _stat import S_ISDIR, S_ISREG

PARSED = "parsed"
"""The folder of the state directory that keeps syntax nodes."""
WANTED_BY_BOTH = "builder.dockerfile.nodes"
"""What parsing needs but for the parser: loaded once, before the fork."""
WANTED_NEXT = (
    "builder.executors.image",
    "builder.executors.exec_",
    "builder.networks.pool",
    "builder.store.layering",
    "builder.engine.account",
)
"""What a build loads behind the parser, unless it finds everything done."""


_MAX_CHARACTERS = 1 << 20
"""Longer files are left to the build, which knows their limit."""
_SIGKILL = 9


class Forerunner:
    """A running forerunner, or none where it would bring nothing."""

    def __init__(
        self,
        pid: int | None,
        task: tuple[object, ...] = (),
        parsing_fd: int = -1,
        scout_fd: int = -1,
        since_ns: int | None = None,
    ) -> None:
        """Take over a child, and what it was asked for.

        `parsing_fd` is a pipe's end that it closes when it has parsed.
        """
        self._pid = pid
        self._task = task
        self._parsing_fd = parsing_fd
        self.scout_fd = scout_fd
        """The memory file that it writes what it finds to; -1 if there is none."""
        self.since_ns = time.time_ns() if since_ns is None else since_ns
        """When it began (Unix time), or before."""

    @classmethod
    def start(cls, context: str, dockerfile: str | None, root: str) -> "Forerunner":
        """Fork it, if the Dockerfile is a file of the client and there is a processor to spare.

        Call it before the first thread, and before anything is loaded.
        """
        path = _path(context, dockerfile)
        task = _task(path, context, root)
        if path is None or not is_processor_spare() or not S_ISDIR(_mode(root)):
            return cls(None, task)
        __import__(WANTED_BY_BOTH)
        parsing_fd, end_fd = posix.pipe2(posix.O_CLOEXEC)
        scout_fd = posix.memfd_create("scout", posix.MFD_CLOEXEC)
        since_ns = time.time_ns()
        pid = posix.fork()
        if pid == 0:
            try:
                posix.close(parsing_fd)
                _run(path, context, root, end_fd, scout_fd)
            finally:
                posix._exit(0)  # noqa: SLF001 - the documented way out of a fork
        posix.close(end_fd)
        return cls(pid, task, parsing_fd, scout_fd, since_ns)

    def is_for(self, context: str, dockerfile: str | None, root: str) -> bool:
        """Whether it does what it would, were it started for this."""
        return self._task == _task(_path(context, dockerfile), context, root)

    @property
    def is_at_work(self) -> bool:
        """Whether it still parses: a text that is known takes it no time."""
        return not self._has_parsed(is_waiting=False)

    def wait(self) -> None:
        """Wait until it has left what it has to leave; load meanwhile what will be wanted next."""
        for name in WANTED_NEXT:
            if not self.is_at_work:
                return
            __import__(name)
        self._has_parsed(is_waiting=True)

    def close(self) -> None:
        """End it, whatever it is at."""
        if self._pid is not None:
            posix.kill(self._pid, _SIGKILL)
            try:  # noqa: SIM105 - without contextlib
                posix.waitpid(self._pid, 0)
            except ChildProcessError:  # somebody else waited for any child
                pass
            self._pid = None
        for fd in (self._parsing_fd, self.scout_fd):
            if fd >= 0:
                posix.close(fd)
        self._parsing_fd = self.scout_fd = -1

    def _has_parsed(self, *, is_waiting: bool) -> bool:
        if self._parsing_fd >= 0:
            posix.set_blocking(self._parsing_fd, is_waiting)
            try:
                posix.read(self._parsing_fd, 1)
            except BlockingIOError:
                return False
            posix.close(self._parsing_fd)
            self._parsing_fd = -1
        return True


NONE = Forerunner(None)


def is_processor_spare() -> bool:
    """Whether anything can run beside this process."""
    return len(posix.sched_getaffinity(0)) > 1


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


def _run(path: str, context: str, root: str, end_fd: int, scout_fd: int) -> None:
    null_fd = posix.open("/dev/null", posix.O_RDWR)
    for fd in range(3):
        posix.dup2(null_fd, fd)  # whoever reads our output waits for the build's end, not for ours
    parent = posix.getppid()
    try:  # noqa: SIM105 - without contextlib
        _parse(path, f"{root}/{PARSED}")
    except Exception:  # noqa: BLE001, S110 - the build will find it, and say so
        pass
    posix.close(end_fd)
    from builder.engine.scout import scout

    scout(context, root, scout_fd, is_wanted=lambda: posix.getppid() == parent)


def _parse(path: str, cache_dir: str) -> None:
    from builder.dockerfile.nodes import read_nodes
    from builder.source import Source

    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read(_MAX_CHARACTERS + 1)
    if len(text) <= _MAX_CHARACTERS:
        read_nodes(Source(path, text), cache_dir=cache_dir)
