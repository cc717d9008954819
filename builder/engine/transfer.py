"""Images from and to archives: load, save, import.

Loading verifies everything before the first byte is kept: digests, sizes, diff IDs, media types,
names. A failure in the middle leaves nothing behind.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import ExitStack, closing
from typing import Literal

from builder.engine.catalog import given_name, resolved
from builder.engine.docker_archive import docker_images
from builder.engine.found import FoundImage
from builder.engine.members import ArchiveMembers, DirectoryMembers, Members
from builder.engine.oci_layout import oci_images
from builder.errors import InvalidImage, KernelError, NotFound, UsageError
from builder.exporters.blobs import Blobs
from builder.exporters.image_file import write_images
from builder.exporters.layout import INDEX_FILE, Root
from builder.layers.compress import Compressor
from builder.layers.stream import Decompressed, FdSource
from builder.layers.tar import PIECE_BYTES
from builder.layers.tarreader import Reader
from builder.oci import config as configs
from builder.oci import descriptor as descriptors
from builder.oci import media
from builder.oci.config import History, ImageConfig, RunConfig
from builder.oci.descriptor import Descriptor, Index, Manifest, describe
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.store.images import StoredImage
from builder.store.store import Store
from builder.values import NamedTuple

ArchiveFormat = Literal["docker-archive", "oci-archive", "docker-dir", "oci-dir"]


class Loaded(NamedTuple):
    """An image that is now in the store, with the names it got."""

    names: tuple[Reference, ...]
    descriptor: Descriptor
    image_id: Digest


class Import(NamedTuple):
    """What an imported root file system becomes."""

    platform: Platform
    config: RunConfig
    created: str
    """RFC 3339."""
    message: str = ""
    reference: Reference | None = None


def load(
    store: Store, source: str | int, platform: Platform, *, tags: Sequence[Reference] = ()
) -> list[Loaded]:
    """Load all images of an archive, a layout directory, or a stream in any compression.

    `source` is a path or a descriptor, which stays the caller's. `tags` are further names, for an
    archive of one image. InvalidImage if anything in it is wrong. Raises UsageError.
    """
    with ExitStack() as stack:
        members = opened_members(store, source, stack)
        if members.find(INDEX_FILE) is not None:
            found = oci_images(members, platform)
        else:
            found = docker_images(members)
        if tags and len(found) > 1:
            raise UsageError(
                f"the archive holds {len(found)} images, so a tag is ambiguous",
                fix="load without a tag, then tag each image",
            )
        return [_keep(store, image, tags) for image in found]


def save(
    store: Store,
    names: Sequence[str],
    platform: Platform | None,
    *,
    dest: str,
    stdout: int = 1,
    format: ArchiveFormat = "docker-archive",  # noqa: A002 - the option's name
) -> None:
    """Write images of the store to an archive or a directory; `-` is the descriptor `stdout`.

    Of an image of several platforms, the given one is written; without one, all of them if they are
    all here, else this machine's.
    """
    roots: dict[Digest, Root] = {}
    for name in names:
        image = resolved(store, name)
        root, manifest = _chosen(store, image, platform)
        known = roots.get(root.digest, Root(root))
        given = given_name(image, name)
        more = (given,) if given is not None and given not in known.names else ()
        shown = manifest if format.startswith("docker") else None
        roots[root.digest] = Root(root, (*known.names, *more), shown)
    write_images(
        tuple(roots.values()),
        Blobs(store.content),
        dest,
        stdout,
        is_archive=format.endswith("archive"),
    )


def import_(store: Store, source: int, request: Import) -> Loaded:
    """Make an image of one layer from a root file system's archive, in any compression.

    Raises InvalidImage.
    """
    with store.content.ingest() as ingest:
        with Compressor(ingest.fd, "gzip") as compressor:
            plain = _Teed(Decompressed(FdSource(source)), compressor)
            entries = sum(1 for _ in Reader(plain.read))
            plain.drain()
            blob = compressor.finish()
        if not entries:
            raise InvalidImage("the archive is empty", fix="give a tar archive of a root directory")
        ingest.commit(blob.digest, blob.size_bytes, is_verified=True)
    comment = request.message or "Imported from -"
    config = ImageConfig(
        request.platform,
        request.config,
        (blob.diff_id,),
        (History(created=request.created, comment=comment),),
        request.created,
    )
    written = configs.to_json(config)
    layer = Descriptor(media.LAYER_GZIP, blob.digest, blob.size_bytes)
    manifest = Manifest(media.MANIFEST, describe(written, media.CONFIG), (layer,))
    document = descriptors.to_json(manifest)
    for content in (written, document):
        store.content.put(content)
    root = describe(document, media.MANIFEST, request.platform)
    names = () if request.reference is None else (request.reference,)
    _name(store, root, names)
    return Loaded(names, root, manifest.config.digest)


def opened_members(store: Store, source: str | int, stack: ExitStack) -> Members:
    """Open an archive or a layout directory; the stack closes it.

    Raises KernelError or NotFound.
    """
    _raise_descriptor_limit()
    if isinstance(source, int):
        return ArchiveMembers(FdSource(source), store.content, stack)
    try:
        if stat.S_ISDIR(os.stat(source).st_mode):
            return DirectoryMembers(source, store.content, stack)
        file = stack.enter_context(closing(open(source, "rb", buffering=0)))  # noqa: SIM115
    except FileNotFoundError:
        raise NotFound(f"there is no file {source}", fix="check the path") from None
    except OSError as error:
        raise KernelError("open", error.errno or 0, source) from None
    return ArchiveMembers(FdSource(file.fileno()), store.content, stack)


def _raise_descriptor_limit() -> None:
    """Allow as many open files as may be: every large member is one until the end."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _keep(store: Store, image: FoundImage, tags: Sequence[Reference]) -> Loaded:
    """Store an image's blobs, then its names: a name never stands before what it names."""
    for member in image.blobs:
        if member.content is not None:
            store.content.put(member.content)
        elif member.ingest is not None and not store.content.has(member.digest):
            member.ingest.commit(member.digest, member.size_bytes, is_verified=True)
    names = tuple(dict.fromkeys((*image.names, *tags)))
    _name(store, image.descriptor, names)
    return Loaded(names, image.descriptor, image.image_id)


def _name(store: Store, root: Descriptor, names: Sequence[Reference]) -> None:
    if not names:
        store.images.add(root)
    for name in names:
        store.images.tag(name, root)


def _chosen(
    store: Store, image: StoredImage, platform: Platform | None
) -> tuple[Descriptor, Manifest]:
    """Choose what to write of an image, and the manifest that Docker's list shows."""
    if platform is not None:
        return store.images.manifest(image.descriptor, platform)
    described, manifest = store.images.any_manifest(image.descriptor)
    return image.descriptor if _is_complete(store, image.descriptor) else described, manifest


def _is_complete(store: Store, root: Descriptor) -> bool:
    """Whether every document and blob below an index is in the store."""
    if root.media_type not in media.INDEXES:
        return True
    pending = [root]
    while pending:
        descriptor = pending.pop()
        if not store.content.has(descriptor.digest):
            return False
        if descriptor.media_type in media.INDEXES | media.MANIFESTS:
            content = store.content.read(descriptor.digest, limit=descriptors.MAX_MANIFEST_BYTES)
            match descriptors.parse_manifest_or_index(content, descriptor.media_type):
                case Index(manifests=manifests):
                    pending += manifests
                case Manifest(config=config, layers=layers):
                    pending += (config, *(layer for layer in layers if not layer.urls))
    return True


class _Teed:
    """A source whose bytes also go to a compressor, each once."""

    def __init__(self, source: Decompressed, compressor: Compressor) -> None:
        self._source = source
        self._compressor = compressor

    def read(self, size: int) -> bytes:
        piece = self._source.read(size)
        if piece:
            self._compressor.write(piece)
        return piece

    def drain(self) -> None:
        """Read what stands behind the end of the archive: it belongs to the layer's bytes."""
        while self.read(PIECE_BYTES):
            pass
