"""Where a copy is in a mounted root, and, below a directory with nothing under it, in its layer.

A new file costs overlayfs several times what it costs the file system below. What is made inside a
directory that was empty, or did not exist, in the merged tree is in the upper layer alone, so it
may as well be made there. Nobody else may use the mount meanwhile, nor after it.
"""

import os
from typing import Self

from builder.errors import KernelError
from builder.kernel.paths import open_nofollow
from builder.kernel.trees import Cursor

_FLAGS = os.O_RDONLY | os.O_DIRECTORY


class Upper:
    """The upper directory of a mounted root; a context manager."""

    def __init__(self, root_fd: int, path: str) -> None:
        """Remember the root of the merged tree, and where its upper directory is."""
        self._root = _path(root_fd)
        self._fd = os.open(path, _FLAGS | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)

    def path(self, dir_fd: int) -> str:
        """Name a directory of the merged tree from its root, without slashes at the ends."""
        return _path(dir_fd)[len(self._root) :].strip("/")

    def opened(self, dir_fd: int) -> int:
        """Open a merged directory's counterpart; -1 if it has none (yet)."""
        try:
            return open_nofollow(self._fd, self.path(dir_fd), _FLAGS)
        except KernelError:
            return -1


class Position:
    """A cursor in a mounted root that changes over to the upper directory where it may."""

    def __init__(self, cursor: Cursor, upper: Upper | None) -> None:
        """Move a cursor, which stays the caller's; without an upper directory it only moves."""
        self._merged = cursor
        self._upper = upper
        self._direct: Cursor | None = None

    @property
    def fd(self) -> int:
        """The directory here."""
        return self._merged.fd if self._direct is None else self._direct.fd

    @property
    def is_direct(self) -> bool:
        """Whether this is the upper directory's side."""
        return self._direct is not None

    def enter(self, name: str) -> bool:
        """Go into a subdirectory; False if there is none."""
        return self._merged.enter(name) if self._direct is None else self._direct.enter(name)

    def leave(self) -> None:
        """Go back to the parent directory."""
        if self._direct is not None:
            if self._direct.depth:
                self._direct.leave()
                return
            self.close()
        self._merged.leave()

    def start(self) -> "Start":
        """Remember this place."""
        return Start(self, self._upper)

    def change_over(self) -> None:
        """Go on in the upper directory; only where the merged directory is empty."""
        if self._direct is not None or self._upper is None:
            return
        fd = self._upper.opened(self._merged.fd)
        if fd >= 0:
            try:
                self._direct = Cursor(fd)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Go back to the mount's side."""
        if self._direct is not None:
            self._direct.close()
            self._direct = None


class Start:
    """The place where a copy began, to be opened on either side; a context manager."""

    def __init__(self, position: Position, upper: Upper | None) -> None:
        """Remember where a position is now."""
        self._was_direct = position.is_direct
        self._upper = upper
        self._fd = os.dup(position.fd)
        self._other_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)
        if self._other_fd >= 0:
            os.close(self._other_fd)

    def fd(self, position: Position) -> int:
        """Give the directory on the side where a position is now: links cannot cross."""
        if self._was_direct or not position.is_direct or self._upper is None:
            return self._fd
        if self._other_fd < 0:
            self._other_fd = self._upper.opened(self._fd)
        return self._other_fd if self._other_fd >= 0 else self._fd


def _path(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")
