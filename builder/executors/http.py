"""Http: one downloaded file as a tree; the download itself happened when the URL was resolved."""

import os

from builder.concurrency import CancelToken
from builder.executors.bench import Bench
from builder.graph.ops import Http

COPY_BYTES = 1 << 20


def execute(op: Http, bench: Bench, token: CancelToken) -> int:
    """Make a snapshot that holds the file, with the mode and time that ADD gives it."""
    snapshots = bench.store.snapshots
    active = snapshots.prepare(None)
    try:
        with snapshots.mounted(active) as root_fd:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            target = os.open(op.filename, flags, 0o600, dir_fd=root_fd)
            try:
                _copy(bench, op, target, token)
                os.fchmod(target, op.mode_bits)
                os.utime(target, (op.mtime_s, op.mtime_s))
            finally:
                os.close(target)
        return snapshots.commit(active).id
    except BaseException:
        snapshots.discard(active)
        raise


def _copy(bench: Bench, op: Http, target: int, token: CancelToken) -> None:
    source = bench.store.content.open(op.digest)
    try:
        while chunk := os.read(source, COPY_BYTES):
            token.check()
            os.write(target, chunk)
    finally:
        os.close(source)
