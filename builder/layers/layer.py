"""A layer's blob: the changes of an upper directory as a tar stream, compressed and named."""

import os
from collections.abc import Callable, Iterable, Sequence

from builder.layers.compress import Blob, Compressor
from builder.layers.diff import Change, changes
from builder.layers.tar import NS_PER_S, Entry
from builder.layers.tarwriter import Buffer, Writer
from builder.oci.media import Compression

_SMALL_BYTES = 128 << 10


def write_layer(
    upper: str,
    lowers: Sequence[str],
    out_fd: int,
    *,
    compression: Compression = "gzip",
    level: int | None = None,
    userxattr: bool = False,
    max_mtime_s: int | None = None,
) -> Blob:
    """Write what an upper directory changed over its lowers (top first) as a blob, and name it.

    `max_mtime_s` is the latest time that a member may have; later ones are set to it. The output's
    descriptor stays open and is not synced.
    """
    with Compressor(out_fd, compression, level) as compressor:
        write_changes(changes(upper, lowers, userxattr=userxattr), compressor.write, max_mtime_s)
        return compressor.finish()


def write_changes(
    members: Iterable[Change], write: Callable[[Buffer], object], max_mtime_s: int | None = None
) -> None:
    """Write changes as a whole tar archive."""
    writer = Writer(write)
    limit_ns = None if max_mtime_s is None else max_mtime_s * NS_PER_S
    for entry, fd in members:
        member = entry
        if limit_ns is not None and entry.mtime_ns > limit_ns:
            member = entry._replace(mtime_ns=limit_ns)
        if fd < 0:
            writer.add(member)
        else:
            _add_file(writer, member, fd)
    writer.close()


def _add_file(writer: Writer, entry: Entry, fd: int) -> None:
    """Add a file: a small one by a single read."""
    if entry.size_bytes <= _SMALL_BYTES:
        content = os.read(fd, entry.size_bytes) if entry.size_bytes else b""
        if len(content) == entry.size_bytes:
            writer.add(entry, content)
            return
        os.lseek(fd, 0, os.SEEK_SET)
    writer.add_file(entry, fd)
