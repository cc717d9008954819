"""The texts that define a build: the Dockerfile, and the ignore file that goes with it."""

import os
from typing import Self

from builder.engine.lock import SUFFIX, Pinning, parse_lock
from builder.engine.request import STDIN
from builder.engine.watched import observed
from builder.errors import KernelError, NotFound, UsageError
from builder.kernel.paths import open_in_root
from builder.source import Source

MAX_DOCKERFILE_BYTES = 16 << 20
DEFAULT_NAMES = ("Dockerfile", "Containerfile")
IGNORE_FILE = ".dockerignore"
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


class Definition:
    """Reads the files of one context; a context manager.

    Those of a context that was fetched are resolved inside of it: its links lead nowhere else.
    `seen` lists what was looked at, with what stat said of it.
    """

    def __init__(self, context: str, *, is_fetched: bool = False) -> None:
        """Open the directory if it is not the client's own."""
        self.seen: list[tuple[str, os.stat_result | None]] = []
        self.lock = Pinning()
        """The lock beside the Dockerfile that was read."""
        self._context = context
        self._root_fd = open_directory(context) if is_fetched else None

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Let go of the directory."""
        if self._root_fd is not None:
            os.close(self._root_fd)

    def dockerfile(self, path: str | None, stdin: int) -> tuple[Source, str]:
        """Read the Dockerfile and its ignore file (empty if there is none); raise NotFound."""
        if path == STDIN:
            content = read_limited(os.dup(stdin), "standard input")
            return Source(DEFAULT_NAMES[0], as_text(content)), self.ignore_text()
        path = self._place(path)
        try:
            fd = self._open(path)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            raise NotFound(
                f"failed to read dockerfile: open {self._shown(path)}: {reason}",
                fix="name it with -f, or give the directory that holds it",
            ) from None
        content = read_limited(fd, self._shown(path))
        source = Source(os.path.basename(path), as_text(content))
        self.lock = self._lock(f"{path}{SUFFIX}")
        return source, self.ignore_text(f"{path}{IGNORE_FILE}")

    def _lock(self, path: str) -> Pinning:
        try:
            fd = self._open(path)
        except FileNotFoundError:
            return Pinning(None, self._shown(path))
        except OSError as error:
            raise KernelError("open", error.errno or 0, path) from None
        shown = self._shown(path)
        return Pinning(parse_lock(read_limited(fd, shown), shown), shown)

    def ignore_text(self, *beside: str) -> str:
        """Read the first ignore file that there is: one beside the Dockerfile, or the context's."""
        for path in (*beside, os.path.join(self._context, IGNORE_FILE)):
            try:
                fd = self._open(path)
            except OSError:
                continue
            return as_text(read_limited(fd, self._shown(path)))
        return ""

    def _place(self, path: str | None) -> str:
        if path is None:
            path = self._default()
        elif self._root_fd is not None:
            path = os.path.join(self._context, path.lstrip("/"))
        if os.path.basename(path) == DEFAULT_NAMES[0] and not os.path.exists(path):
            lower = os.path.join(os.path.dirname(path), DEFAULT_NAMES[0].lower())
            path = lower if os.path.exists(lower) else path
        return path

    def _default(self) -> str:
        for name in DEFAULT_NAMES:
            path = os.path.join(self._context, name)
            if os.path.lexists(path):
                return path
        return os.path.join(self._context, DEFAULT_NAMES[0])

    def _open(self, path: str) -> int:
        self.seen.append(observed(path))
        if self._root_fd is None:
            return os.open(path, _FLAGS)
        try:
            return open_in_root(self._root_fd, os.path.relpath(path, self._context), _FLAGS)
        except KernelError as error:
            raise OSError(error.errno, os.strerror(error.errno)) from None

    def _shown(self, path: str) -> str:
        """Give the path as the user knows it."""
        return path if self._root_fd is None else os.path.relpath(path, self._context)


def open_directory(path: str) -> int:
    """Open a context; raise NotFound with the remedy."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise NotFound(
            f"the build context {path!r} cannot be opened: {os.strerror(error.errno or 0)}",
            fix="give an existing directory as the last argument",
        ) from None


def read_limited(fd: int, name: str) -> bytes:
    """Read a whole descriptor and close it; refuse more than the limit."""
    chunks = []
    total = 0
    with os.fdopen(fd, "rb", buffering=0) as stream:
        while chunk := stream.read(1 << 20):
            total += len(chunk)
            if total > MAX_DOCKERFILE_BYTES:
                raise UsageError(f"{name} is larger than {MAX_DOCKERFILE_BYTES >> 20} MiB")
            chunks.append(chunk)
    return b"".join(chunks)


def as_text(content: bytes) -> str:
    """Decode a file of the user, keeping bytes that are no UTF-8."""
    return content.decode("utf-8", "surrogateescape")
