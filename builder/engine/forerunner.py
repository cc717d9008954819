"""The parser's forerunner: a process that parses the Dockerfile while this one loads the engine.

Lark takes as long to load as all the rest. The forerunner leaves the syntax nodes where the build
looks for them first; it reports nothing, since the build does for itself what is not there. Nor
does a wrong guess of the Dockerfile do any harm.
"""

import os
from contextlib import suppress
from importlib import import_module
from stat import S_ISREG

PARSED = "parsed"
"""The folder of the state directory that keeps syntax nodes."""
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


class Forerunner:
    """A running forerunner, or none where it would bring nothing."""

    def __init__(self, pid: int | None) -> None:
        """Take over a child."""
        self._pid = pid

    @classmethod
    def start(cls, context: str, dockerfile: str | None, root: str) -> "Forerunner":
        """Fork it, if the Dockerfile is a file of the client and there is a processor to spare.

        Call it before the first thread, and before what both processes need is loaded.
        """
        path = _path(context, dockerfile)
        if path is None or len(os.sched_getaffinity(0)) == 1 or not os.path.isdir(root):
            return cls(None)
        pid = os.fork()
        if pid == 0:
            try:
                with suppress(Exception):  # the build will find it, and say so
                    _parse(path, f"{root}/{PARSED}")
            finally:
                os._exit(0)
        return cls(pid)

    @property
    def is_at_work(self) -> bool:
        """Whether it still parses: a text that is known takes it no time."""
        return not self._has_ended(os.WNOHANG)

    def wait(self) -> None:
        """Wait until it has left what it has to leave; load meanwhile what will be wanted next."""
        for name in WANTED_NEXT:
            if not self.is_at_work:
                return
            import_module(name)
        self._has_ended(0)

    def _has_ended(self, options: int) -> bool:
        if self._pid is not None:
            with suppress(ChildProcessError):  # somebody else waited for any child
                if os.waitpid(self._pid, options) == (0, 0):
                    return False
            self._pid = None
        return True


def _path(context: str, dockerfile: str | None) -> str | None:
    if not os.path.isdir(context):
        return None
    path = dockerfile or os.path.join(context, "Dockerfile")
    try:
        is_regular = S_ISREG(os.stat(path).st_mode)  # of a pipe nothing would be left
    except OSError:
        return None
    return path if is_regular else None


def _parse(path: str, cache_dir: str) -> None:
    null_fd = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null_fd, fd)  # whoever reads our output waits for the build's end, not for ours
    from builder.dockerfile.nodes import read_nodes
    from builder.source import Source

    with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read(_MAX_CHARACTERS + 1)
    if len(text) <= _MAX_CHARACTERS:
        read_nodes(Source(path, text), cache_dir=cache_dir)
