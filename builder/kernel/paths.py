"""The one path resolver: every path that an image, archive or Dockerfile wrote goes through here.

A path is resolved below a root directory's descriptor, links included, and what comes out is a
descriptor, to be used from then on; a string is never resolved twice. The kernel does the work
(openat2 with RESOLVE_IN_ROOT); where it cannot, because it is older than 5.6 or the path is longer
than PATH_MAX, `_Walk` goes component by component with O_PATH | O_NOFOLLOW.

Paths are relative to the root with or without a leading slash. `..` stops at the root. All
descriptors returned are close-on-exec and the caller's to close.
"""

import os
import struct
from errno import (
    EAGAIN,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENOENT,
    ENOSYS,
    ENOTDIR,
    EPERM,
)
from stat import S_ISREG
from typing import Self

from builder.errors import KernelError
from builder.kernel import libc
from builder.kernel.owner import change_owner

_SYS_OPENAT2 = 437
RESOLVE = 0x10 | 0x02
"""RESOLVE_IN_ROOT and RESOLVE_NO_MAGICLINKS: how every path of an image is resolved."""
_OPEN_HOW = struct.Struct("QQQ")  # flags, mode, resolve: openat2(2)
_MAX_LINKS = 40
_RACES = 64
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_syscall = libc.LongFunction(libc.address("syscall"))


def open_in_root(root_fd: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Open a path below the root, following links inside it; `mode` counts with O_CREAT.

    Raises KernelError.
    """
    name = _encoded(path)
    flags |= os.O_CLOEXEC
    how = _OPEN_HOW.pack(flags, mode, RESOLVE)
    error = EAGAIN
    for _ in range(_RACES):
        fd: int = _syscall(
            libc.Long(_SYS_OPENAT2),
            libc.Int(root_fd),
            libc.Text(name),
            libc.Text(how),
            libc.UnsignedLong(len(how)),
        )
        if fd >= 0:
            return fd
        error = libc.get_errno()
        if error != EAGAIN:  # a rename somewhere while `..` was resolved: openat2(2)
            break
    if error in (ENOSYS, EPERM, ENAMETOOLONG):  # EPERM: an old seccomp filter's answer
        return open_by_walk(root_fd, path, flags, mode)
    raise KernelError("openat2", error, path)


def open_nofollow(root_fd: int, path: str, flags: int = os.O_PATH) -> int:
    """Open a path below the root; its last component is not followed if it is a link."""
    return open_in_root(root_fd, path.rstrip("/") or ".", flags | os.O_NOFOLLOW)


def open_parent(root_fd: int, path: str) -> tuple[int, str]:
    """Open the directory that holds a path's last component; return it and that name.

    Raises KernelError (EINVAL) if there is no such name: for the root itself, `.` and `..`.
    """
    directory, _, name = path.rstrip("/").rpartition("/")
    if name in {"", ".", ".."} or "\0" in name:
        raise KernelError("open", EINVAL, path)
    return open_in_root(root_fd, directory, os.O_PATH | os.O_DIRECTORY), name


def make_dirs(
    root_fd: int, path: str, *, mode_bits: int = 0o755, uid: int = 0, gid: int = 0
) -> int:
    """Make a directory and its missing parents; return the descriptor (readable) of the last.

    Links are followed inside the root, also dangling ones: their target is made. New directories
    get exactly this mode and owner, existing ones stay as they are. Raises KernelError (ENOTDIR)
    if something else is in the way.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY
    try:
        return open_in_root(root_fd, path, flags)
    except KernelError as error:
        if error.errno != ENOENT:
            raise
    with _Walk(root_fd, path, made=(mode_bits, uid, gid)) as walk:
        while walk.pending:
            walk.enter(walk.pending.pop())
        return _reopened(walk.fd, flags, path)


def open_place(
    root_fd: int, path: str, *, mode_bits: int = 0o755, uid: int = 0, gid: int = 0
) -> tuple[int, str]:
    """Find where a file at a path would be made: a directory's descriptor, and a name in it.

    Links are followed inside the root, that of the last component too, dangling or not. Missing
    directories are made as `make_dirs` does. Raises KernelError (EISDIR) if the path ends at a
    directory without a name: the root, `.` or `..`.
    """
    with _Walk(root_fd, path, made=(mode_bits, uid, gid)) as walk:
        while walk.pending:
            name = walk.pending.pop()
            if walk.pending or name in {".", ".."}:
                walk.enter(name)
            elif not walk.follow(name):
                return os.dup(walk.fd), name
    raise KernelError("open", EISDIR, path)


def read_small_file(root_fd: int, path: str, *, limit: int) -> bytes | None:
    """Read a regular file of at most `limit` bytes; None if it is absent, another kind or larger.

    Never blocks: a FIFO is opened without waiting, and then seen not to be regular.
    Raises KernelError.
    """
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelError:
        return None
    try:
        status = os.fstat(fd)
        if not S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        pieces = bytearray()
        while piece := os.read(fd, limit + 1 - len(pieces)):
            pieces += piece
        return bytes(pieces) if len(pieces) <= limit else None
    except OSError as error:
        raise KernelError("read", error.errno or 0, path) from None
    finally:
        os.close(fd)


def exists(root_fd: int, path: str) -> bool:
    """Whether a path below the root leads to anything, links followed."""
    try:
        os.close(open_in_root(root_fd, path))
    except KernelError:
        return False
    return True


def open_by_walk(root_fd: int, path: str, flags: int = os.O_PATH, mode: int = 0) -> int:
    """Do what `open_in_root` does one component at a time, on any kernel and for any length."""
    _encoded(path)
    if path.endswith("/"):
        flags |= os.O_DIRECTORY
    is_following = not flags & os.O_NOFOLLOW or path.endswith("/")
    with _Walk(root_fd, path) as walk:
        while walk.pending:
            name = walk.pending.pop()
            if walk.pending or name in {".", ".."}:
                walk.enter(name)
            elif not (is_following and walk.follow(name)):
                return walk.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        return _reopened(walk.fd, flags, path)


class _Walk:
    """A position below the root: the directory reached, and the components still to go."""

    def __init__(self, root_fd: int, path: str, made: tuple[int, int, int] | None = None) -> None:
        """Start at the root; with `made` (mode, uid, gid), missing directories are made."""
        self.path = path
        self.pending = [part for part in reversed(path.split("/")) if part]
        self.fd = os.dup(root_fd)
        self._root_fd = root_fd
        self._names: list[str] = []
        self._made = made
        self._links = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self.fd)

    def open(self, name: str, flags: int, mode: int = 0) -> int:
        """Open a name in the present directory."""
        try:
            return os.open(name, flags, mode, dir_fd=self.fd)
        except OSError as error:
            raise KernelError("open", error.errno or 0, self.path) from None

    def enter(self, name: str) -> None:
        """Go into a directory, through a link if it is one, or up; never above the root."""
        if name == ".":
            return
        if name == "..":
            self._go_up()
            return
        try:
            self._move(self.open(name, _DIRECTORY), name)
        except KernelError as error:
            if error.errno == ENOENT and self._made:
                self._make(name)
            elif error.errno != ENOTDIR or not self.follow(name):
                raise

    def follow(self, name: str) -> bool:
        """If a name is a link, put what it says in its place and return True."""
        try:
            target = os.readlink(name, dir_fd=self.fd)
        except OSError as error:
            if error.errno in (EINVAL, ENOENT):
                return False
            raise KernelError("readlink", error.errno or 0, self.path) from None
        self._links += 1
        if self._links > _MAX_LINKS:
            raise KernelError("open", ELOOP, self.path)
        if target.startswith("/"):
            self._move(os.dup(self._root_fd), None)
        self.pending.extend(part for part in reversed(target.split("/")) if part)
        return True

    def _move(self, fd: int, name: str | None) -> None:
        os.close(self.fd)
        self.fd = fd
        if name is None:
            self._names.clear()
        else:
            self._names.append(name)

    def _go_up(self) -> None:
        """Reopen the parent by its names: `..` of a directory that was moved may be outside."""
        names = self._names[:-1]
        self._move(os.dup(self._root_fd), None)
        for name in names:
            self._move(self.open(name, _DIRECTORY), name)

    def _make(self, name: str) -> None:
        mode_bits, uid, gid = self._made or (0o755, 0, 0)
        try:
            os.mkdir(name, 0o700, dir_fd=self.fd)
        except OSError as error:
            if error.errno != EEXIST:
                raise KernelError("mkdir", error.errno or 0, self.path) from None
            self.enter(name)  # somebody else was faster
            return
        self._move(self.open(name, _DIRECTORY), name)
        change_owner(self.fd, uid, gid)
        os.chmod(f"/proc/self/fd/{self.fd}", mode_bits)


def _reopened(fd: int, flags: int, path: str) -> int:
    """Open a directory again by its descriptor, with the flags that were asked for."""
    try:
        return os.open(".", flags & ~os.O_NOFOLLOW & ~os.O_CREAT | os.O_CLOEXEC, dir_fd=fd)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None


def _encoded(path: str) -> bytes:
    name = os.fsencode(path) or b"."
    if b"\0" in name:
        raise KernelError("open", EINVAL, path)
    return name
