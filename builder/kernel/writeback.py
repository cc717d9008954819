"""Dirty pages on their way to the disk before anybody waits for them: sync_file_range(2).

Hints and no more: nothing is durable before fsync(2) says so, and errors are its to report.
"""

from builder.kernel import libc

_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
_sync_file_range = libc.Function(libc.address("sync_file_range"))


def begin(fd: int) -> None:
    """Begin to write what is dirty of a file, as a rule without waiting."""
    _call(fd, _WRITE)


def finish(fd: int) -> None:
    """Write what is dirty of a file, and wait until that has been written."""
    _call(fd, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)


def _call(fd: int, flags: int) -> None:
    """Call it for the whole file."""
    _sync_file_range(libc.Int(fd), libc.UnsignedLong(0), libc.UnsignedLong(0), libc.Int(flags))
