"""Directory trees by descriptor: walking, measuring and removing, however deep they are.

Nothing here recurses or follows a link, and few descriptors are open at a time.
"""

import os
from errno import EACCES, EISDIR, ELOOP, ENOENT, ENOTDIR, ENOTEMPTY, ESTALE
from stat import S_ISDIR
from typing import Self

from builder.errors import KernelError

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ABSENT = (ENOENT, ENOTDIR, ELOOP)
_BLOCK_BYTES = 512


class Cursor:
    """A position in a tree: `fd` is the directory there, readable; it goes down and up again.

    Far ancestors are closed on the way down and reached again by `..`, checked to be the same
    directory, so that a tree moved meanwhile cannot lead elsewhere. A context manager.
    """

    __slots__ = ("_kept", "_parents", "fd")

    def __init__(self, root_fd: int, *, kept: int = 16) -> None:
        """Begin at a directory; the caller keeps its own descriptor. `kept` ancestors stay open."""
        self._kept = kept
        self._parents: list[tuple[int, int, int]] = []
        self.fd = self._opened(".", root_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def depth(self) -> int:
        """How far below the start this is."""
        return len(self._parents)

    def enter(self, name: str) -> bool:
        """Go into a subdirectory; False, and no move, if there is no directory of that name.

        Raises KernelError.
        """
        try:
            child = os.open(name, _OPEN, dir_fd=self.fd)
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise KernelError("open", error.errno or 0, name) from None
        status = os.fstat(self.fd)
        self._parents.append((self.fd, status.st_dev, status.st_ino))
        if len(self._parents) > self._kept:
            far, device, inode = self._parents[-self._kept - 1]
            self._parents[-self._kept - 1] = (-1, device, inode)
            if far >= 0:
                os.close(far)
        self.fd = child
        return True

    def leave(self) -> None:
        """Go back to the parent directory; raise KernelError."""
        parent, device, inode = self._parents.pop()
        if parent < 0:
            parent = self._opened("..", self.fd)
            status = os.fstat(parent)
            if (status.st_dev, status.st_ino) != (device, inode):
                os.close(parent)
                raise KernelError("open", ESTALE, "..")
        os.close(self.fd)
        self.fd = parent

    def close(self) -> None:
        """Close everything; the cursor is of no use afterwards."""
        for parent, _device, _inode in self._parents:
            if parent >= 0:
                os.close(parent)
        self._parents.clear()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @staticmethod
    def _opened(name: str, dir_fd: int) -> int:
        try:
            return os.open(name, _OPEN, dir_fd=dir_fd)
        except OSError as error:
            raise KernelError("open", error.errno or 0, name) from None


def remove_tree(dir_fd: int, name: str) -> None:
    """Remove an entry of a directory and all below it; it is no error if there is none."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno == ENOENT:
            return
        if error.errno != EISDIR:
            raise KernelError("unlink", error.errno or 0, name) from None
        _remove_directory(dir_fd, name)


def disk_usage(dir_fd: int) -> tuple[int, int]:
    """Add up the bytes on disk and count the inodes below and with a directory."""
    status = os.fstat(dir_fd)
    size_bytes, inodes = status.st_blocks * _BLOCK_BYTES, 1
    linked: set[tuple[int, int]] = set()
    with Cursor(dir_fd) as cursor:
        pending = [os.listdir(cursor.fd)]
        while pending:
            if not pending[-1]:
                pending.pop()
                if pending:
                    cursor.leave()
                continue
            name = pending[-1].pop()
            status = os.stat(name, dir_fd=cursor.fd, follow_symlinks=False)
            identity = (status.st_dev, status.st_ino)
            is_directory = S_ISDIR(status.st_mode)
            if identity not in linked:
                size_bytes += status.st_blocks * _BLOCK_BYTES
                inodes += 1
            if is_directory and cursor.enter(name):
                pending.append(os.listdir(cursor.fd))
            elif status.st_nlink > 1 and not is_directory:
                linked.add(identity)
    return size_bytes, inodes


def _remove_directory(dir_fd: int, name: str) -> None:
    try:
        os.rmdir(name, dir_fd=dir_fd)
    except OSError as error:
        if error.errno != ENOTEMPTY:
            raise KernelError("rmdir", error.errno or 0, name) from None
    else:
        return
    with Cursor(dir_fd) as cursor:
        path = [name]
        pending = [_emptied_of_files(cursor, name)]
        while pending:
            if pending[-1]:
                path.append(pending[-1].pop())
                pending.append(_emptied_of_files(cursor, path[-1]))
            else:
                pending.pop()
                cursor.leave()
                os.rmdir(path.pop(), dir_fd=cursor.fd)


def _emptied_of_files(cursor: Cursor, name: str) -> list[str]:
    """Enter a directory, remove its files, and list its subdirectories."""
    try:
        is_entered = cursor.enter(name)
    except KernelError as error:
        if error.errno != EACCES:
            raise
        os.chmod(name, 0o700, dir_fd=cursor.fd)
        is_entered = cursor.enter(name)
    if not is_entered:
        raise KernelError("open", ENOTDIR, name)
    directories = []
    for child in os.listdir(cursor.fd):
        try:
            os.unlink(child, dir_fd=cursor.fd)
        except OSError as error:
            if error.errno == EACCES:
                os.chmod(f"/proc/self/fd/{cursor.fd}", 0o700)
                os.unlink(child, dir_fd=cursor.fd)
            elif error.errno != EISDIR:
                raise KernelError("unlink", error.errno or 0, child) from None
            else:
                directories.append(child)
    return directories
