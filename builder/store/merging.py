"""One tree out of a stack of overlay directories, by hard links: nothing is read, little written.

The directories are those of committed snapshots: nobody changes them, so that a file may have a
name in each tree.

Spec: Linux, Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
"""

import os
from stat import S_IMODE, S_ISCHR, S_ISDIR, S_ISREG

from builder.kernel import xattr
from builder.kernel.trees import Cursor, remove_tree

_WHITEOUT = "user.overlay.whiteout"
_OVERLAY = ("trusted.overlay.", "user.overlay.")


def merge(diff: str, target: str, *, userxattr: bool) -> None:
    """Lay the changes of one overlay directory over a plain tree on the same file system."""
    with opened(diff) as source, opened(target) as tree:
        copy_attributes(source.fd, tree.fd)
        pending = [os.listdir(source.fd)]
        while pending:
            if pending[-1]:
                name = pending[-1].pop()
                if _merge_entry(source, tree, name, userxattr=userxattr):
                    pending.append(os.listdir(source.fd))
                continue
            pending.pop()
            copy_times(source.fd, tree.fd)
            if pending:
                source.leave()
                tree.leave()


def opened(path: str) -> Cursor:
    """Begin at the top of a tree; a context manager."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return Cursor(fd)
    finally:
        os.close(fd)


def is_whiteout(dir_fd: int, name: str, status: os.stat_result, *, userxattr: bool) -> bool:
    """Whether an entry of an overlay directory hides what lower ones have of its name."""
    if S_ISCHR(status.st_mode):
        return status.st_rdev == 0
    if not userxattr or not S_ISREG(status.st_mode) or status.st_size:
        return False
    try:
        os.getxattr(f"/proc/self/fd/{dir_fd}/{name}", _WHITEOUT, follow_symlinks=False)
    except OSError:
        return False
    return True


def copy_attributes(source_fd: int, target_fd: int) -> None:
    """Give a directory the owner, mode and attributes of another, but none of overlayfs's."""
    status = os.fstat(source_fd)
    os.fchown(target_fd, status.st_uid, status.st_gid)
    os.fchmod(target_fd, S_IMODE(status.st_mode))
    attributes = xattr.get_all(source_fd)
    xattr.set_all(target_fd, [pair for pair in attributes if not pair[0].startswith(_OVERLAY)])


def copy_times(source_fd: int, target_fd: int) -> None:
    """Give an open file or directory the times of another."""
    status = os.fstat(source_fd)
    os.utime(target_fd, ns=(status.st_atime_ns, status.st_mtime_ns))


def _merge_entry(source: Cursor, tree: Cursor, name: str, *, userxattr: bool) -> bool:
    """Lay one entry over the tree; True if it is a directory, which both cursors have entered."""
    status = os.stat(name, dir_fd=source.fd, follow_symlinks=False)
    if not S_ISDIR(status.st_mode):
        remove_tree(tree.fd, name)
        if not is_whiteout(source.fd, name, status, userxattr=userxattr):
            os.link(
                name, name, src_dir_fd=source.fd, dst_dir_fd=tree.fd, follow_symlinks=False
            )  # fmt: skip
        return False
    source.enter(name)
    if xattr.is_opaque(source.fd, userxattr=userxattr):
        remove_tree(tree.fd, name)
    if not tree.enter(name):
        remove_tree(tree.fd, name)
        os.mkdir(name, 0o700, dir_fd=tree.fd)
        tree.enter(name)
    copy_attributes(source.fd, tree.fd)
    return True
