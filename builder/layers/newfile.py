"""New files in a mounted root: made in place of others, and filled."""

import os
from collections.abc import Callable
from errno import EINVAL, ENOSYS, EOPNOTSUPP, EPERM, EXDEV
from stat import S_IMODE, S_ISDIR
from typing import TypeVar

from builder.errors import Conflict
from builder.kernel.owner import change_owner
from builder.layers.mode import Mode
from builder.values import NamedTuple

T = TypeVar("T")

CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_SMALL_BYTES = 256 << 10
_CHUNK_BYTES = 64 << 20
_NO_RANGE = (EXDEV, EINVAL, ENOSYS, EOPNOTSUPP, EPERM)
_FILE_MODE = 0o644


class Metadata(NamedTuple):
    """What `--chown` and `--chmod` say."""

    owner: tuple[int, int] | None = None
    mode: Mode | None = None

    @property
    def parent_mode(self) -> int:
        """The mode of directories that are made on the way."""
        return 0o755 if self.mode is None else self.mode.of_parents

    def mode_bits(self, status_mode: int) -> int:
        """Give the mode that a copy of a file of this mode has."""
        bits = S_IMODE(status_mode)
        if self.mode is None:
            return bits
        return self.mode.applied(bits, is_directory=S_ISDIR(status_mode))

    def write_file(self, dir_fd: int, name: str, content: bytes) -> None:
        """Write a new file in place of whatever file is there."""
        fd = made(lambda: os.open(name, CREATE, 0o600, dir_fd=dir_fd), dir_fd, name, name)
        try:
            _write(fd, content)
            change_owner(fd, *(self.owner or (0, 0)))
            os.fchmod(fd, self.mode_bits(_FILE_MODE))
        finally:
            os.close(fd)


def made(make: Callable[[], T], dir_fd: int, name: str, shown: str) -> T:
    """Make a file, replacing another file or link but never a directory; raise Conflict."""
    try:
        return make()
    except FileExistsError:
        if S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            raise Conflict(
                f"cannot replace to directory {shown} with file",
                fix="end the destination with a slash to copy into the directory",
            ) from None
        os.unlink(name, dir_fd=dir_fd)
        return make()


def copy_bytes(source_fd: int, fd: int, size_bytes: int) -> int:
    """Copy a regular file to its end; give the number of bytes. `size_bytes` is a good guess."""
    copied = _copy_range(source_fd, fd) if size_bytes > _SMALL_BYTES else 0
    wanted = min(size_bytes + 1, _SMALL_BYTES)
    while True:
        piece = os.read(source_fd, wanted)
        if piece:
            _write(fd, piece)
            copied += len(piece)
        if len(piece) < wanted:  # only at the end does a regular file give less
            return copied


def _copy_range(source_fd: int, fd: int) -> int:
    copied = 0
    try:
        while count := os.copy_file_range(source_fd, fd, _CHUNK_BYTES):
            copied += count
    except OSError as error:
        if error.errno not in _NO_RANGE:
            raise
    return copied


def _write(fd: int, content: bytes) -> None:
    written = os.write(fd, content)
    while written < len(content):
        written += os.write(fd, content[written:])
