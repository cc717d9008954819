"""The files of an image as plain files in a directory of the host.

The directory may hold other files, or an older export: nothing in it is followed, whatever is in
the way is replaced, and each file appears whole. Files belong to whoever exports; device nodes and
sockets stay behind.
"""

import os
import stat
from collections.abc import Iterator

from builder.errors import KernelError
from builder.exporters.blobs import copy_bytes
from builder.kernel.trees import Cursor, remove_tree

_Position = tuple[Iterator[str], frozenset[str], os.stat_result]


def export_folder(root_fd: int, dest: str, *, is_deleting: bool = False) -> None:
    """Copy a tree into the directory `dest`, made if need be; with `is_deleting`, mirror it.

    Raises KernelError.
    """
    try:
        os.makedirs(dest, exist_ok=True)
        dest_fd = os.open(dest, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, dest) from None
    try:
        with Cursor(root_fd) as source, Cursor(dest_fd) as target:
            _Export(source, target, is_deleting=is_deleting).run()
    except OSError as error:
        raise KernelError("write", error.errno or 0, error.filename or dest) from None
    finally:
        os.close(dest_fd)


class _Export:
    """Two positions that walk in step: where files are read, and where they are written."""

    def __init__(self, source: Cursor, target: Cursor, *, is_deleting: bool) -> None:
        self._source = source
        self._target = target
        self._is_deleting = is_deleting

    def run(self) -> None:
        positions = [self._entered()]
        while positions:
            names, present, status = positions[-1]
            name = next(names, None)
            if name is None:
                positions.pop()
                self._finish(present, status if positions else None)
            elif self._add(name):
                positions.append(self._entered())

    def _entered(self) -> _Position:
        names = sorted(os.listdir(self._source.fd))
        return iter(names), frozenset(names), os.fstat(self._source.fd)

    def _finish(self, present: frozenset[str], status: os.stat_result | None) -> None:
        """Complete a directory: its own mode and time come last. The top keeps its own."""
        if self._is_deleting:
            for name in os.listdir(self._target.fd):
                if name not in present:
                    remove_tree(self._target.fd, name)
        if status is not None:
            os.chmod(f"/proc/self/fd/{self._target.fd}", stat.S_IMODE(status.st_mode))
            os.utime(
                f"/proc/self/fd/{self._target.fd}", ns=(status.st_atime_ns, status.st_mtime_ns)
            )
            self._source.leave()
            self._target.leave()

    def _add(self, name: str) -> bool:
        """Write one entry; return whether both positions went into a directory."""
        status = os.stat(name, dir_fd=self._source.fd, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            return self._enter(name)
        temporary = f".{os.getpid()}.{status.st_ino:x}.tmp"
        if kind == stat.S_IFREG:
            self._write_file(name, temporary, status)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=self._source.fd), temporary, dir_fd=self._target.fd)
        elif kind == stat.S_IFIFO:
            os.mkfifo(temporary, stat.S_IMODE(status.st_mode), dir_fd=self._target.fd)
        else:
            return False
        os.utime(
            temporary,
            ns=(status.st_atime_ns, status.st_mtime_ns),
            dir_fd=self._target.fd,
            follow_symlinks=False,
        )
        self._place(temporary, name)
        return False

    def _enter(self, name: str) -> bool:
        if not self._is_folder(name):
            remove_tree(self._target.fd, name)
            os.mkdir(name, 0o700, dir_fd=self._target.fd)
        if not self._source.enter(name):
            return False
        if not self._target.enter(name):
            self._source.leave()
            return False
        return True

    def _is_folder(self, name: str) -> bool:
        try:
            found = os.stat(name, dir_fd=self._target.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return stat.S_ISDIR(found.st_mode)

    def _place(self, temporary: str, name: str) -> None:
        if self._is_folder(name):
            remove_tree(self._target.fd, name)
        os.rename(temporary, name, src_dir_fd=self._target.fd, dst_dir_fd=self._target.fd)

    def _write_file(self, name: str, temporary: str, status: os.stat_result) -> None:
        source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._source.fd)
        try:
            out = os.open(
                temporary,
                os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC,
                0o600,
                dir_fd=self._target.fd,
            )
            try:
                copy_bytes(source, os.fstat(source).st_size, out)
                os.fchmod(out, stat.S_IMODE(status.st_mode))
            finally:
                os.close(out)
        finally:
            os.close(source)
