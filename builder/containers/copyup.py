"""An empty volume takes what the image has at its mount point, with modes and owners.

The source is found inside the image's root by descriptor; nothing that the image wrote, links
included, leads out of it.
"""

import os
import stat

from builder.errors import KernelError
from builder.kernel import owner, paths, xattr

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20


def copy_up(root_fd: int, target: str, volume: str) -> None:
    """Copy the directory at `target` into the volume's directory; nothing if there is none."""
    try:
        found = paths.open_in_root(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except KernelError:
        return
    try:
        into = os.open(volume, _DIRECTORY)
        try:
            _copy_directory(found, into)
        finally:
            os.close(into)
    finally:
        os.close(found)


def _copy_directory(source: int, dest: int) -> None:
    """Copy a tree level by level; each directory is opened anew, so few descriptors are open."""
    links: dict[tuple[int, int], str] = {}
    pending = [""]
    while pending:
        prefix = pending.pop()
        from_fd = _opened(source, prefix)
        try:
            to_fd = _opened(dest, prefix)
            try:
                for name in os.listdir(from_fd):
                    status = os.stat(name, dir_fd=from_fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        os.mkdir(name, 0o700, dir_fd=to_fd)
                        pending.append(f"{prefix}{name}/")
                    elif not _link(links, status, f"{prefix}{name}", dest):
                        _copy_entry(from_fd, to_fd, name, status)
                _copy_metadata(from_fd, to_fd)
            finally:
                os.close(to_fd)
        finally:
            os.close(from_fd)


def _opened(root_fd: int, path: str) -> int:
    return paths.open_in_root(root_fd, path or ".", os.O_RDONLY | os.O_DIRECTORY)


def _link(links: dict[tuple[int, int], str], status: os.stat_result, path: str, dest: int) -> bool:
    """Link to a file that was copied under another name."""
    if status.st_nlink < 2:  # noqa: PLR2004
        return False
    key = (status.st_dev, status.st_ino)
    first = links.setdefault(key, path)
    if first == path:
        return False
    os.link(first, path, src_dir_fd=dest, dst_dir_fd=dest, follow_symlinks=False)
    return True


def _copy_entry(from_fd: int, to_fd: int, name: str, status: os.stat_result) -> None:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        _copy_file(from_fd, to_fd, name)
        return
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=from_fd), name, dir_fd=to_fd)
    elif stat.S_ISFIFO(mode):
        os.mkfifo(name, 0o600, dir_fd=to_fd)
        os.chmod(name, stat.S_IMODE(mode), dir_fd=to_fd)
    else:
        return  # sockets are nothing without a process, devices do not open on a volume
    owner.change_owner_at(to_fd, name, status.st_uid, status.st_gid)


def _copy_file(from_fd: int, to_fd: int, name: str) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    reading = os.open(name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=from_fd)
    try:
        writing = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags, 0o600, dir_fd=to_fd)
        try:
            while os.sendfile(writing, reading, None, _CHUNK_BYTES):
                pass
            _copy_metadata(reading, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_metadata(reading: int, writing: int) -> None:
    status = os.fstat(reading)
    kept = owner.kept_owner(reading) or (status.st_uid, status.st_gid)
    owner.change_owner(writing, *kept)
    xattr.set_all(writing, xattr.portable(xattr.get_all(reading)))
    os.fchmod(writing, stat.S_IMODE(status.st_mode))  # after chown, which clears setuid
    os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))
