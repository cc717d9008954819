"""A layer's blob: the changes of an upper directory as a tar stream, compressed and named."""

import os
from collections.abc import Callable, Iterable, Sequence

from builder.layers.compress import Blob, Compressor
from builder.layers.diff import Change, changes
from builder.layers.members import Members
from builder.layers.tar import NS_PER_S, Entry
from builder.layers.tarwriter import Buffer, Copy, Writer
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
    members: Members | None = None,
    check: Callable[[], None] = lambda: None,
) -> Blob:
    """Write what an upper directory changed over its lowers (top first) as a blob, and name it.

    `max_mtime_s` is the latest time that a member may have; later ones are set to it. What is
    written is noted in `members`. The output's descriptor stays open and is not synced. `check` is
    called now and then, and may raise.
    """
    with Compressor(out_fd, compression, level, check=check) as compressor:
        found = changes(upper, lowers, userxattr=userxattr)
        write_changes(found, compressor.write, max_mtime_s, copy=compressor.copy, members=members)
        blob = compressor.finish()
        if members is not None:
            members.index = compressor.blocks(blob)
        return blob


def write_changes(
    found: Iterable[Change],
    write: Callable[[Buffer], object],
    max_mtime_s: int | None = None,
    *,
    copy: Copy | None = None,
    members: Members | None = None,
) -> None:
    """Write changes as a whole tar archive, the content of large files by `copy`."""
    writer = Writer(write, copy)
    limit_ns = None if max_mtime_s is None else max_mtime_s * NS_PER_S
    for change in found:
        entry, fd = change
        if limit_ns is not None and entry.mtime_ns > limit_ns:
            change = Change(entry._replace(mtime_ns=limit_ns), fd)  # noqa: PLW2901
        add_change(writer, change, members)
    writer.close()


def add_change(writer: Writer, change: Change, members: Members | None) -> None:
    """Add one member, and note it."""
    entry, fd = change
    start = 0 if members is None else writer.size_bytes
    if fd < 0:
        writer.add(entry)
    else:
        _add_file(writer, entry, fd)
    if members is not None:
        members.add(entry, writer.size_bytes - start)


def _add_file(writer: Writer, entry: Entry, fd: int) -> None:
    """Add a file: a small one by a single read."""
    size_bytes = entry.size_bytes
    if size_bytes <= _SMALL_BYTES:
        content = os.read(fd, size_bytes) if size_bytes else b""
        if len(content) == size_bytes:
            writer.add(entry, content)
            return
        os.lseek(fd, 0, os.SEEK_SET)
    writer.add_file(entry, fd)
