"""A layer made from an earlier one of which a patch changed a few files: the rest is not read.

What comes out is byte for byte what a walk over all files would give. The earlier layer's members
are copied as a stream, with those of the patch in their place. Compressed blocks in which nothing
has changed or moved are copied as well.
"""

from array import array
from collections.abc import Iterator, Sequence

from builder.errors import InvalidImage
from builder.layers.blocks import BlockReader
from builder.layers.compress import Blob, Compressor
from builder.layers.deflate import form
from builder.layers.diff import changes
from builder.layers.layer import add_change
from builder.layers.members import Listed, Members
from builder.layers.names import is_in
from builder.layers.prefetch import Prefetch
from builder.layers.stream import Decompressed, Digesting, FdSource, Source
from builder.layers.tar import BLOCK_BYTES, PIECE_BYTES, Entry, deleted_name
from builder.layers.tarwriter import Writer
from builder.oci.digest import Digest
from builder.oci.media import Compression
from builder.values import NamedTuple


class Earlier(NamedTuple):
    """A layer that is here: where its members are, and its blob, to be read from its beginning."""

    members: Listed
    fd: int
    digest: Digest


def can_splice(patch: str, bases: Sequence[str], earlier: Listed, *, userxattr: bool) -> bool:
    """Whether a patch's directory tells all that differs, without a look at the base.

    It does not for what the base has as well, unless that is a directory, nor for hard links.
    """
    for change in changes(patch, (), userxattr=userxattr, is_patch=True):
        entry = change.entry
        deleted = deleted_name(entry.name)
        name = deleted or entry.name
        is_there = earlier.position(name)[1]
        if entry.kind == "hardlink" or (deleted and not is_there):
            return False
        if entry.kind != "directory" and any(is_in(base, name) for base in bases):
            return False
    return True


def write_spliced(
    patch: str,
    earlier: Earlier,
    out_fd: int,
    *,
    compression: Compression,
    level: int | None,
    userxattr: bool,
) -> tuple[Blob, Members]:
    """Write the layer of an earlier one and its patch, for which `can_splice` holds.

    Raises InvalidImage if the earlier blob is not what its name says, or its blocks are not what
    their index says: nothing written is of use.
    """
    packed, source = _opened(earlier, compression, level)
    recall = packed.recall if isinstance(packed, BlockReader) else None
    with (
        Prefetch(source, is_long=recall is not None) as plain,
        Compressor(out_fd, compression, level, recall=recall) as compressor,
    ):
        splice = _Splice(earlier.members, plain, Writer(compressor.write, compressor.copy))
        for change in changes(patch, (), userxattr=userxattr, is_patch=True):
            deleted = deleted_name(change.entry.name)
            if deleted is None:
                splice.replace(change.entry)
                add_change(splice.writer, change, splice.members)
            else:
                splice.remove(deleted)
        splice.finish()
        if packed.digest != earlier.digest:
            raise InvalidImage(f"the blob {earlier.digest} is damaged")
        blob = compressor.finish()
        splice.members.index = compressor.blocks(blob)
        return blob, splice.members


def _opened(
    earlier: Earlier, compression: Compression, level: int | None
) -> tuple[BlockReader | Digesting, Source]:
    """Open the earlier blob: what digests it, and gives its plain bytes."""
    index = earlier.members.index
    is_known = index is not None and index.digest == earlier.digest
    if index is not None and is_known and compression == "gzip" and index.form == form(level):
        reader = BlockReader(earlier.fd, index.sizes)
        return reader, reader
    packed = Digesting(FdSource(earlier.fd))
    return packed, Decompressed(packed)


class _Splice:
    """A position in the earlier archive, and the new one that grows from it."""

    def __init__(self, earlier: Listed, plain: Source, writer: Writer) -> None:
        self._earlier = earlier
        self._plain = plain
        self._at = 0
        self._number = 0
        """How many members are before that position."""
        self.writer = writer
        self.members = Members()

    def replace(self, entry: Entry) -> None:
        """Come to where a member belongs, and pass over the one that it replaces."""
        at, is_there = self._earlier.position(entry.name)
        self._keep(at)
        if is_there:
            self._skip(
                self._earlier.next(at) if entry.kind == "directory" else self._earlier.end(at)
            )

    def remove(self, name: str) -> None:
        """Pass over a member and all below it."""
        at, _ = self._earlier.position(name)
        self._keep(at)
        self._skip(self._earlier.end(at))

    def finish(self) -> None:
        """Take over what is left, and end the archive."""
        self._keep(len(self._earlier.names))
        self.writer.close()
        while self._plain.read(PIECE_BYTES):
            pass

    def _keep(self, end: int) -> None:
        names = self._earlier.names[self._at : end]
        blocks = self._passed(end)
        for piece in self._pieces(blocks):
            self.writer.add_packed(piece)
        self.members.extend(names, blocks)

    def _skip(self, end: int) -> None:
        for _ in self._pieces(self._passed(end)):
            pass

    def _passed(self, end: int) -> "array[int]":
        """Move on, and give the sizes of the members in between."""
        start = self._number
        self._number += self._earlier.names.count(b"\0", self._at, end)
        self._at = end
        return self._earlier.blocks[start : self._number]

    def _pieces(self, blocks: "array[int]") -> Iterator[bytes]:
        left = sum(blocks) * BLOCK_BYTES
        while left:
            piece = self._plain.read(min(left, PIECE_BYTES))
            if not piece:
                raise InvalidImage("an earlier layer is shorter than its members")
            left -= len(piece)
            yield piece
