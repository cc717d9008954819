"""A second tree equal to the first: owners, modes, times, attributes, hard links, special files."""

import os
from errno import EINVAL, ENOSYS, EOPNOTSUPP, EPERM, EXDEV
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from builder.kernel import xattr
from builder.kernel.trees import Cursor
from builder.store import merging

_PIECE_BYTES = 1 << 20
_NO_RANGE = (EINVAL, ENOSYS, EOPNOTSUPP, EPERM, EXDEV)


def replicate(source: str, target: str) -> None:
    """Copy the content and attributes of one directory to another, which is empty.

    Device nodes that may not be made are left out. Raises OSError or KernelError.
    """
    links: dict[tuple[int, int], str] = {}
    with merging.opened(source) as old, merging.opened(target) as new:
        target_fd = os.dup(new.fd)
        path: list[str] = []
        pending = [os.listdir(old.fd)]
        try:
            while pending:
                if pending[-1]:
                    name = pending[-1].pop()
                    if _enter_copy(old, new, name):
                        path.append(name)
                        pending.append(os.listdir(old.fd))
                    else:
                        _copy_entry(old.fd, new.fd, name, links, (target_fd, path))
                    continue
                pending.pop()
                merging.copy_attributes(old.fd, new.fd)
                merging.copy_times(old.fd, new.fd)
                if pending:
                    path.pop()
                    old.leave()
                    new.leave()
        finally:
            os.close(target_fd)


def _enter_copy(old: Cursor, new: Cursor, name: str) -> bool:
    if not old.enter(name):
        return False
    os.mkdir(name, 0o700, dir_fd=new.fd)
    return new.enter(name)


def _copy_entry(
    old_fd: int,
    new_fd: int,
    name: str,
    links: dict[tuple[int, int], str],
    place: tuple[int, list[str]],
) -> None:
    status = os.stat(name, dir_fd=old_fd, follow_symlinks=False)
    identity = (status.st_dev, status.st_ino)
    if status.st_nlink > 1:
        first = links.get(identity)
        if first is not None:
            os.link(first, name, src_dir_fd=place[0], dst_dir_fd=new_fd, follow_symlinks=False)
            return
        links[identity] = "/".join((*place[1], name))
    if S_ISREG(status.st_mode):
        _copy_file(old_fd, new_fd, name)
    elif S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=old_fd), name, dir_fd=new_fd)
    else:
        try:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=new_fd)
        except PermissionError:
            return
    _copy_metadata(old_fd, new_fd, name, status)


def _copy_file(old_fd: int, new_fd: int, name: str) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=old_fd)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        target = os.open(name, flags, 0o600, dir_fd=new_fd)
        try:
            _copy_bytes(source, target)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_bytes(source: int, target: int) -> None:
    """Let the kernel copy or share blocks; go through memory where it cannot."""
    try:
        while os.copy_file_range(source, target, 1 << 30):
            pass
    except OSError as error:
        if error.errno not in _NO_RANGE:
            raise
    else:
        return
    while piece := os.read(source, _PIECE_BYTES):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view) :]


def _copy_metadata(old_fd: int, new_fd: int, name: str, status: os.stat_result) -> None:
    os.chown(name, status.st_uid, status.st_gid, dir_fd=new_fd, follow_symlinks=False)
    if not S_ISLNK(status.st_mode) and not S_ISDIR(status.st_mode):
        os.chmod(name, S_IMODE(status.st_mode), dir_fd=new_fd)
    attributes = xattr.get_all(f"/proc/self/fd/{old_fd}/{name}")
    if attributes:
        xattr.set_all(f"/proc/self/fd/{new_fd}/{name}", attributes)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=new_fd, follow_symlinks=False)
