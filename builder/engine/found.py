"""Images found in an archive: everything verified, nothing stored yet."""

import os

from builder.engine.members import Member
from builder.errors import InvalidImage, UsageError
from builder.layers.prefetch import Prefetch
from builder.layers.stream import BytesSource, Decompressed, Digesting, FdSource, Source
from builder.layers.tarreader import Reader
from builder.oci import media
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.reference import Reference, parse_reference
from builder.values import NamedTuple

_DAMAGED = "make the archive again: it is damaged or was tampered with"


class FoundImage(NamedTuple):
    """An image: its root document, its config's digest, its names, and all its blobs.

    The blobs stand in the order in which they may be stored: children first.
    """

    descriptor: Descriptor
    image_id: Digest
    names: tuple[Reference, ...]
    blobs: tuple[Member, ...]


def verified_blob(member: Member, descriptor: Descriptor) -> None:
    """Raise InvalidImage unless a member is what its descriptor says."""
    if (member.digest, member.size_bytes) != (descriptor.digest, descriptor.size_bytes):
        raise InvalidImage(
            f"{member.name} is not the blob {descriptor.digest} of {descriptor.size_bytes} bytes",
            fix=_DAMAGED,
        )


def verified_layer(member: Member, diff_id: Digest) -> media.Compression:
    """Tell a layer's compression by its bytes; InvalidImage unless it is the right tar archive.

    Its plain bytes must have the diff ID, and be an archive from the first to the last member.
    """
    plain = Decompressed(_source(member))
    compression = plain.format
    if compression not in {"none", "gzip", "zstd"}:
        raise InvalidImage(f"{member.name} is compressed with {compression}, which no layer may be")
    if compression == "none":
        _read_archive(plain)
        found = member.digest
    else:
        with Prefetch(plain) as ahead:
            digesting = Digesting(ahead)
            _read_archive(digesting)
        found = digesting.digest
    if found != diff_id:
        raise InvalidImage(f"{member.name} does not have the diff ID {diff_id}", fix=_DAMAGED)
    return compression


def name_in_archive(text: str) -> Reference:
    """Read a name that an archive gives; a malformed one is the archive's fault.

    Raises InvalidImage.
    """
    try:
        reference = parse_reference(text)
    except UsageError as error:
        raise InvalidImage(f"the archive names an image wrongly: {error.what}") from None
    return reference._replace(digest=None) if reference.tag else reference


def _read_archive(source: Source) -> None:
    reader = Reader(source.read)
    for _entry in reader:
        pass
    reader.drain()


def _source(member: Member) -> Source:
    if member.content is not None:
        return BytesSource(member.content)
    os.lseek(member.fd, 0, os.SEEK_SET)
    return FdSource(member.fd)
