"""Deleting trees in two steps: rename now, remove later.

Removal is slow, and on ext4 it slows the creation of files for a while; a rename is neither.
"""

import fcntl
import os
import struct
import time
from itertools import count
from stat import S_ISDIR, S_ISREG

from builder.errors import KernelError
from builder.kernel.trees import Cursor, disk_usage, remove_tree
from builder.store.failure import translated

_FS_IOC_GETFLAGS = 0x80086601
_FS_IOC_SETFLAGS = 0x40086602
_IMMUTABLE_OR_APPEND = 0x10 | 0x20
_FEW_INODES = 256
_REST_S = 600
_counter = count()


def discard(path: str, trash: str) -> bool:
    """Move a file or tree into the trash; return whether there was one."""
    with translated(path):
        try:
            os.rename(path, f"{trash}/{os.getpid()}-{os.urandom(4).hex()}-{next(_counter)}")
        except FileNotFoundError:
            return False
    return True


def empty(trash: str, *, is_gentle: bool = False) -> list[str]:
    """Remove all that is in the trash; return the names of what cannot be removed.

    Gently, large trees are left for some minutes: their removal would slow down whatever creates
    files on the same ext4 meanwhile. Others may fill or empty the trash at the same time.
    """
    stuck = []
    with translated(trash):
        fd = os.open(trash, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in os.listdir(fd):
                if is_gentle and _is_large_and_new(fd, name):
                    continue
                if not _removed(fd, name):
                    _make_tree_mutable(fd, name)
                    if not _removed(fd, name):
                        stuck.append(name)
        finally:
            os.close(fd)
    return stuck


def _is_large_and_new(trash_fd: int, name: str) -> bool:
    try:
        status = os.stat(name, dir_fd=trash_fd, follow_symlinks=False)
        if not S_ISDIR(status.st_mode) or time.time() - status.st_ctime > _REST_S:
            return False
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=trash_fd)
    except OSError:
        return False
    try:
        return disk_usage(fd)[1] > _FEW_INODES
    except KernelError:
        return False
    finally:
        os.close(fd)


def is_empty(trash: str) -> bool:
    """Whether the trash holds nothing."""
    with translated(trash), os.scandir(trash) as entries:
        return next(entries, None) is None


def _removed(trash_fd: int, name: str) -> bool:
    try:
        remove_tree(trash_fd, name)
    except FileNotFoundError:
        return True
    except (KernelError, OSError):
        return False
    return True


def _make_tree_mutable(trash_fd: int, name: str) -> None:
    """Clear the flags that chattr(1) sets, wherever in the tree they are."""
    _make_mutable(trash_fd, name)
    with Cursor(trash_fd) as cursor:
        pending = [[name]]
        while pending:
            if not pending[-1]:
                pending.pop()
                if pending:
                    cursor.leave()
                continue
            child = pending[-1].pop()
            _make_mutable(cursor.fd, child)
            if cursor.enter(child):
                pending.append(os.listdir(cursor.fd))


def _make_mutable(dir_fd: int, name: str) -> None:
    """Clear the immutable and append-only flags, as far as we may; ioctl_iflags(2)."""
    try:
        mode = os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode
        if not S_ISREG(mode) and not S_ISDIR(mode):
            return  # opening a device or FIFO may do things
        fd = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd
        )
    except OSError:
        return
    try:
        flags = struct.unpack("i", fcntl.ioctl(fd, _FS_IOC_GETFLAGS, struct.pack("i", 0)))[0]
        if flags & _IMMUTABLE_OR_APPEND:
            fcntl.ioctl(fd, _FS_IOC_SETFLAGS, struct.pack("i", flags & ~_IMMUTABLE_OR_APPEND))
    except OSError:
        return
    finally:
        os.close(fd)
