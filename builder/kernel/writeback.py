"""Dirty pages on their way to the disk before anybody waits for them: sync_file_range(2)."""

from builder.kernel import libc

_WRITE = 2
"""SYNC_FILE_RANGE_WRITE: begin to write what is dirty and not being written."""
_sync_file_range = libc.Function(libc.address("sync_file_range"))


def begin(fd: int, start: int = 0, size_bytes: int = 0) -> None:
    """Begin to write a range of a file, as a rule without waiting; no size means to its end.

    A hint and no more: nothing is durable before fsync(2) says so, and errors are its to report.
    """
    _sync_file_range(
        libc.Int(fd), libc.UnsignedLong(start), libc.UnsignedLong(size_bytes), libc.Int(_WRITE)
    )
