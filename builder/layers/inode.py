"""One file of a layer's directory, with what a tar member needs to know of it.

Marks of overlayfs and of single-id mode are read and taken off: what remains is the file as the
image has it.
"""

import os
from errno import ENOENT, ENOTDIR, ENOTSUP
from stat import S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IMODE

from builder.errors import KernelError
from builder.kernel.owner import OWNER_XATTR, kept_owner
from builder.kernel.xattr import Attributes, is_portable
from builder.layers.tar import PIECE_BYTES, Entry, Kind

KINDS: dict[int, Kind] = {
    S_IFREG: "file",
    S_IFDIR: "directory",
    S_IFLNK: "symlink",
    S_IFCHR: "char",
    S_IFBLK: "block",
    S_IFIFO: "fifo",
}
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WHITEOUTS = ("trusted.overlay.whiteout", "user.overlay.whiteout")
_OPAQUES = ("trusted.overlay.opaque", "user.overlay.opaque")


class Inode:
    """A file found in a directory; a regular one is open (`fd`), to be closed by who asked."""

    __slots__ = (
        "dir_fd",
        "fd",
        "gid",
        "is_opaque",
        "is_whiteout",
        "kind",
        "name",
        "status",
        "uid",
        "xattrs",
    )

    def __init__(self, dir_fd: int, name: str, status: os.stat_result) -> None:
        self.dir_fd = dir_fd
        self.name = name
        self.status = status
        self.kind: Kind | None = KINDS.get(S_IFMT(status.st_mode))
        """None for a socket, which no archive can hold."""
        self.uid = status.st_uid
        self.gid = status.st_gid
        self.fd = -1
        self.xattrs: Attributes = ()
        self.is_opaque = False
        self.is_whiteout = self.kind == "char" and status.st_rdev == 0

    def close(self) -> None:
        """Close the content."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def entry(self, path: str) -> Entry:
        """Describe the file as a member of that name."""
        status, kind = self.status, self.kind
        if kind == "file":
            mode_bits, mtime_ns = S_IMODE(status.st_mode), status.st_mtime_ns
            ids = self.uid, self.gid
            return Entry(path, kind, mode_bits, *ids, status.st_size, mtime_ns, xattrs=self.xattrs)
        assert kind is not None  # noqa: S101 - sockets are left out before
        return Entry(
            path,
            kind,
            S_IMODE(status.st_mode),
            self.uid,
            self.gid,
            0,
            status.st_mtime_ns,
            self.link_name() if kind == "symlink" else "",
            self._device() if kind in ("char", "block") else (0, 0),
            self.xattrs,
        )

    def link_name(self) -> str:
        """Read what a symbolic link says; raise KernelError."""
        try:
            return os.readlink(self.name, dir_fd=self.dir_fd)
        except OSError as error:
            raise KernelError("readlink", error.errno or 0, self.name) from None

    def has_equal_metadata(self, other: "Inode") -> bool:
        """Whether mode, owner, device and attributes agree; and, but for directories, the time."""
        mine, its = self.status, other.status
        return (
            mine.st_mode == its.st_mode
            and (self.uid, self.gid) == (other.uid, other.gid)
            and mine.st_rdev == its.st_rdev
            and self.xattrs == other.xattrs
            and (
                self.kind == "directory"
                or (mine.st_size == its.st_size and mine.st_mtime_ns == its.st_mtime_ns)
            )
        )

    def _device(self) -> tuple[int, int]:
        return os.major(self.status.st_rdev), os.minor(self.status.st_rdev)


def inode_at(dir_fd: int, name: str, *, userxattr: bool) -> Inode | None:
    """Look at an entry of a directory, never through a link; None if there is none.

    Raises KernelError.
    """
    try:
        inode = Inode(dir_fd, name, os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
        if inode.kind == "file":
            inode.fd = os.open(name, _FILE, dir_fd=dir_fd)
            _read_attributes(inode, inode.fd, userxattr=userxattr)
        elif inode.kind == "directory":
            _read_attributes(inode, f"/proc/self/fd/{dir_fd}/{name}", userxattr=userxattr)
    except OSError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return None
        raise KernelError("open", error.errno or 0, name) from None
    return inode


def has_equal_content(left: Inode, right: Inode) -> bool:
    """Whether two files of equal kind and size hold the same bytes, or say the same as links."""
    if left.kind == "symlink":
        return left.link_name() == right.link_name()
    if left.kind != "file" or (left.status.st_dev, left.status.st_ino) == (
        right.status.st_dev,
        right.status.st_ino,
    ):
        return True
    offset = 0
    while piece := os.pread(left.fd, PIECE_BYTES, offset):
        if piece != os.pread(right.fd, PIECE_BYTES, offset):
            return False
        offset += len(piece)
    return True


def _read_attributes(inode: Inode, place: int | str, *, userxattr: bool) -> None:
    follow = isinstance(place, int)
    try:
        keys = os.listxattr(place, follow_symlinks=follow)
    except OSError as error:
        if error.errno == ENOTSUP:
            return
        raise
    if not keys:
        return
    if _OPAQUES[userxattr] in keys:
        mark = os.getxattr(place, _OPAQUES[userxattr], follow_symlinks=follow)
        inode.is_opaque = mark == b"y"
    if _WHITEOUTS[userxattr] in keys and inode.kind == "file":
        inode.is_whiteout = inode.status.st_size == 0
    inode.xattrs = tuple(
        (key, os.getxattr(place, key, follow_symlinks=follow))
        for key in sorted(keys)
        if is_portable(key)
    )
    if userxattr and OWNER_XATTR in keys:
        inode.uid, inode.gid = kept_owner(place) or (inode.uid, inode.gid)
