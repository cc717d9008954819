"""Cache mounts in a registry: the pieces of a mount, many to a blob.

A registry answers a request in milliseconds, and a package cache has tens of thousands of files.
So the pieces stand in packs, one after the other in the order of the document. Where a pack ends
follows from the pieces alone: what did not change is in packs that did not, and is not sent again.
"""

import os
from collections.abc import Iterator, Sequence

from builder.engine import mount_files
from builder.engine.cache_layout import CacheLayout
from builder.engine.mount_files import MOUNT_TYPE, PIECE_TYPE
from builder.engine.remote_cache import RemoteBlobs
from builder.errors import InvalidImage
from builder.oci.descriptor import Descriptor, Manifest
from builder.oci.digest import SHA256_PREFIX, Digest, hex_of, sha256
from builder.oci.provider import Stream
from builder.store import atomic
from builder.store.store import Store
from builder.values import NamedTuple

PACK_TYPE = "application/vnd.builder.cache-mount.pack.v1"
_MIN_PACK_BYTES = 1 << 20
_MAX_PACK_BYTES = 64 << 20
_ENDS = frozenset("01")
"""A piece whose digest begins so ends its pack, if that is large enough: one in eight."""


class Packed(NamedTuple):
    """A mount ready to be sent: its document, its packs, and where each pack's file is."""

    document: bytes
    packs: tuple[Descriptor, ...]
    paths: dict[Digest, str]


def packed_mounts(store: Store) -> Iterator[Packed]:
    """Write all mounts that have an ID into temporary files, gone when the store is closed."""
    mounts = mount_files.chosen(store, ())
    layout = CacheLayout(store.temporary("-mounts"))
    with layout.written():
        entries, _done = mount_files.export_mounts(store, layout, mounts)
        for entry in entries:
            packs, paths = _packs(layout, mount_files.pieces_of(layout, entry))
            content = layout.read(entry, limit=mount_files.MAX_DOCUMENT_BYTES)
            yield Packed(content, packs, paths)


def unpacked_mounts(store: Store, mounts: Sequence[Manifest], blobs: RemoteBlobs) -> None:
    """Fill those mounts that are not here yet; raise InvalidImage for what is broken."""
    layout = CacheLayout(store.temporary("-mounts"))
    entries = []
    with layout.written():
        for mount in mounts:
            content = blobs.read(mount.config, limit=mount_files.MAX_DOCUMENT_BYTES)
            entry = layout.add(content, MOUNT_TYPE)
            if os.path.isdir(store.cache_mounts.path(mount_files.name_of(layout, entry))):
                continue
            blobs.begin(mount.layers)
            _unpack(layout, mount_files.pieces_of(layout, entry), mount.layers, blobs)
            entries.append(entry)
        if entries:
            layout.publish(entries, lambda entry: mount_files.reach(layout, entry))
    if entries:
        mount_files.import_mounts(store, layout)


def _packs(
    layout: CacheLayout, pieces: Sequence[Descriptor]
) -> tuple[tuple[Descriptor, ...], dict[Digest, str]]:
    packs: list[Descriptor] = []
    paths: dict[Digest, str] = {}
    pending: list[Descriptor] = []
    size_bytes = 0
    for position, piece in enumerate(pieces):
        pending.append(piece)
        size_bytes += piece.size_bytes
        is_end = size_bytes >= _MIN_PACK_BYTES and hex_of(piece.digest)[0] in _ENDS
        if is_end or size_bytes >= _MAX_PACK_BYTES or position == len(pieces) - 1:
            pack, path = _pack(layout, pending)
            packs.append(pack)
            paths[pack.digest] = path
            pending, size_bytes = [], 0
    return tuple(packs), paths


def _pack(layout: CacheLayout, pieces: Sequence[Descriptor]) -> tuple[Descriptor, str]:
    """Write one pack beside the layout's blobs."""
    path = f"{layout.path}/{hex_of(pieces[0].digest)}.pack"
    hasher, size_bytes = sha256(), 0
    with open(path, "wb", buffering=0) as out:
        for piece in pieces:
            content = layout.read(piece, limit=_MAX_PACK_BYTES)
            hasher.update(content)
            size_bytes += len(content)
            atomic.write_all(out.fileno(), content)
    return Descriptor(PACK_TYPE, Digest(SHA256_PREFIX + hasher.hexdigest()), size_bytes), path


def _unpack(
    layout: CacheLayout,
    pieces: Sequence[Descriptor],
    packs: Sequence[Descriptor],
    blobs: RemoteBlobs,
) -> None:
    """Cut packs into their pieces, each of which has to be what its document says."""
    left = list(reversed(pieces))
    for pack in packs:
        stream = blobs.open_blob(pack)
        size_bytes = pack.size_bytes
        try:
            while size_bytes > 0:
                if not left or left[-1].size_bytes > size_bytes:
                    raise InvalidImage(f"the pack {pack.digest} does not hold whole pieces")
                piece = left.pop()
                content = _exactly(stream, piece.size_bytes)
                if layout.add(content, PIECE_TYPE).digest != piece.digest:
                    raise InvalidImage(f"the pack {pack.digest} holds other pieces")
                size_bytes -= piece.size_bytes
        finally:
            stream.close()
    if left:
        raise InvalidImage(f"{len(left)} pieces of a cache mount are missing")


def _exactly(stream: Stream, wanted: int) -> bytes:
    parts = []
    while wanted and (part := stream.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)
