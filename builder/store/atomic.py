"""Files that are either the old or the new one, also after a power cut.

Write beside, fsync, rename, fsync the directory: rename(2) is atomic, and durable only when its
directory is.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count

from builder.kernel import libc, writeback
from builder.store.failure import store_error, translated

_counter = count()
_syncfs = libc.Function(libc.address("syncfs"))


def write(path: str, content: bytes, *, mode_bits: int = 0o600, is_durable: bool = True) -> None:
    """Replace a file as a whole; without `is_durable` a power cut may still bring back the old."""
    with replaced(path, content, mode_bits=mode_bits) as beside:
        if is_durable:
            sync_files([beside])
    if is_durable:
        sync_directory(os.path.dirname(path))


@contextmanager
def replaced(path: str, content: bytes, *, mode_bits: int = 0o600) -> Iterator[str]:
    """Write a file beside, lend its path, and replace a file by it if the block succeeds.

    To sync it is for the block; to sync the directory, for what comes after.
    """
    with translated(path):
        beside = _beside(path, content, mode_bits)
        try:
            yield beside
            os.rename(beside, path)
        except BaseException:
            os.unlink(beside)
            raise


def create(path: str, content: bytes, *, mode_bits: int = 0o600) -> None:
    """Make a file durably unless there is one: of several who try, one wins."""
    with translated(path):
        beside = _beside(path, content, mode_bits)
        try:
            sync_files([beside])
            os.link(beside, path)
        except FileExistsError:
            pass
        finally:
            os.unlink(beside)
        sync_directory(os.path.dirname(path))


def _beside(path: str, content: bytes, mode_bits: int) -> str:
    beside = f"{path}.{os.getpid()}-{next(_counter)}"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode_bits)
    try:
        write_all(fd, content)
    except BaseException:
        os.unlink(beside)
        raise
    finally:
        os.close(fd)
    return beside


def write_all(fd: int, content: bytes | memoryview) -> None:
    """Write until nothing is left; raises OSError."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(fd, rest) :]


def read(path: str, limit: int) -> bytes | None:
    """Read a file up to one byte after `limit`; None if there is none."""
    with translated(path):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            return read_all(fd, limit)
        finally:
            os.close(fd)


def read_all(fd: int, limit: int) -> bytes:
    """Read from the current position to the end, but stop one byte after `limit`."""
    pieces: list[bytes] = []
    left = limit + 1
    while left > 0 and (piece := os.read(fd, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    with translated(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def sync_files(paths: Sequence[str]) -> None:
    """Make the bytes of some files durable; where that is a journal's commit, one for all."""
    fds: list[int] = []
    try:
        for path in paths:
            with translated(path):
                fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            writeback.begin(fds[-1])
        for path, fd in zip(paths, fds, strict=True):
            with translated(path):
                os.fdatasync(fd)
    finally:
        for fd in fds:
            os.close(fd)


def write_back(path: str) -> None:
    """Write out the bytes of a file, if it is there. It is not durable by that."""
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            writeback.finish(fd)
        finally:
            os.close(fd)


def syncfs(path: str) -> None:
    """Make everything on the file system of `path` durable; may take as long as the disk needs.

    Spec: syncfs(2); from Linux 5.8 on it reports write errors.
    """
    with translated(path):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _syncfs(fd) != 0:
                raise store_error(OSError(libc.get_errno(), ""), path)
        finally:
            os.close(fd)
