"""Unpack an archive into a directory that may hold files already: ADD, import, volumes."""

from collections.abc import Iterator

from builder.layers.place import Placer
from builder.layers.prefetch import Prefetch
from builder.layers.stream import Decompressed, FdSource, Source
from builder.layers.tar import Entry
from builder.layers.tarreader import Limits, Reader


def extract_archive(
    source: Source | int,
    dest_fd: int,
    *,
    owner: tuple[int, int] | None = None,
    can_mknod: bool = True,
    keeps_xattrs: bool = True,
    max_bytes: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 - a value
) -> int:
    """Unpack a tar archive, compressed or not, below `dest_fd`; give the number of members.

    Members replace what is there, directories merge. `owner` replaces that of every member.
    Names are members like others even if they look like whiteouts. Raises InvalidImage.
    """
    plain = Decompressed(
        FdSource(source) if isinstance(source, int) else source, max_bytes=max_bytes
    )
    with (
        Placer(dest_fd, can_mknod=can_mknod, owner=owner, is_merging=True) as placer,
        Prefetch(plain) as stream,
    ):
        reader = Reader(stream.read, limits)
        for entry in _members(reader, keeps_xattrs=keeps_xattrs):
            placer.place(entry, reader)
        placer.finish()
        return placer.placed


def _members(reader: Reader, *, keeps_xattrs: bool) -> Iterator[Entry]:
    for entry in reader:
        yield entry if keeps_xattrs or not entry.xattrs else entry._replace(xattrs=())
