"""Owners of files where the kernel lets us set them, and beside the file where it does not.

With a single mapped id, or for an id outside the mapped ranges, chown(2) is refused. The owner that
was meant is then kept in the extended attribute `user.builder.owner`, as `uid:gid` in decimal, from
which the layer's tar stream is written. Links and special files cannot carry it: theirs is lost.
"""

import os
from errno import EINVAL, ENODATA, ENOTSUP, EPERM

from builder.errors import KernelError

OWNER_XATTR = "user.builder.owner"
_REFUSED = (EPERM, EINVAL)
_MAX_ID = 0xFFFF_FFFE


def change_owner(fd: int, uid: int, gid: int) -> None:
    """Set the owner of an open file (O_PATH will do), or keep it beside the file."""
    _change(f"/proc/self/fd/{fd}", None, uid, gid, is_new=False)


def change_owner_at(dir_fd: int, name: str, uid: int, gid: int, *, is_new: bool = True) -> None:
    """Set the owner of a directory's entry, never through a link, or keep it beside the file.

    `is_new` says that no owner can have been kept there before, which saves a system call.
    """
    _change(name, dir_fd, uid, gid, is_new=is_new)


def kept_owner(path: str | int) -> tuple[int, int] | None:
    """Read the owner kept beside a file; None if there is none or it makes no sense."""
    place = path if isinstance(path, str) else f"/proc/self/fd/{path}"  # O_PATH will do, too
    try:
        text = os.getxattr(place, OWNER_XATTR, follow_symlinks=isinstance(path, int))
    except OSError:
        return None
    uid, colon, gid = text.partition(b":")
    if not colon or not uid.isdigit() or not gid.isdigit() or len(text) > 21:  # noqa: PLR2004
        return None
    owner = int(uid), int(gid)
    return owner if max(owner) <= _MAX_ID else None


def _change(name: str, dir_fd: int | None, uid: int, gid: int, *, is_new: bool) -> None:
    try:
        if dir_fd is None:
            os.chown(name, uid, gid)
        else:
            os.chown(name, uid, gid, dir_fd=dir_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise KernelError("chown", error.errno or 0, name) from None
        _keep(name, dir_fd, uid, gid)
        return
    if not is_new:
        _forget(name, dir_fd)


def _keep(name: str, dir_fd: int | None, uid: int, gid: int) -> None:
    path = name if dir_fd is None else f"/proc/self/fd/{dir_fd}/{name}"
    try:
        os.setxattr(path, OWNER_XATTR, b"%d:%d" % (uid, gid), follow_symlinks=dir_fd is None)
    except OSError as error:
        if error.errno not in (EPERM, ENOTSUP):
            raise KernelError("setxattr", error.errno or 0, name) from None


def _forget(name: str, dir_fd: int | None) -> None:
    path = name if dir_fd is None else f"/proc/self/fd/{dir_fd}/{name}"
    try:
        os.removexattr(path, OWNER_XATTR, follow_symlinks=dir_fd is None)
    except OSError as error:
        if error.errno not in (ENODATA, EPERM, ENOTSUP):
            raise KernelError("removexattr", error.errno or 0, name) from None
