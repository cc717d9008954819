"""What the manifests of a cache or an image say: documents of ours, mounts, others' caches."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from builder.engine import cache_document, foreign_cache, inline_cache
from builder.engine.cache_document import CacheDocument
from builder.engine.cache_layout import CacheLayout
from builder.engine.foreign_cache import ForeignCache
from builder.engine.mount_files import MOUNT_TYPE
from builder.errors import InvalidImage
from builder.oci import json, media
from builder.oci.config import MAX_CONFIG_BYTES
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest_or_index,
)
from builder.store.store import Store
from builder.values import NamedTuple

MAX_MANIFESTS = 1000
_NOWHERE = "unknown"

Part = CacheDocument | ForeignCache | Manifest
Child = Callable[[Descriptor], Manifest | Index | None]
"""Reads what an index names."""


class Read(Protocol):
    """Reads a document whole, verified, if it is not larger than allowed."""

    def __call__(self, descriptor: Descriptor, /, *, limit: int) -> bytes:
        """Read it; raise InvalidImage or NotFound."""
        ...


class Found(NamedTuple):
    """Everything that a reference says about cache."""

    document: CacheDocument | None = None
    foreign: tuple[ForeignCache, ...] = ()
    mounts: tuple[Manifest, ...] = ()
    """Manifests of cache mounts: a document and packs each."""


def found_parts(parts: Iterable[Part]) -> Found:
    """Put parts together by their kind."""
    documents: list[CacheDocument] = []
    foreign: list[ForeignCache] = []
    mounts: list[Manifest] = []
    for part in parts:
        match part:
            case CacheDocument():
                documents.append(part)
            case ForeignCache():
                foreign.append(part)
            case Manifest():
                mounts.append(part)
    document = cache_document.joined(documents) if documents else None
    return Found(document, tuple(foreign), tuple(mounts))


def root_parts(root: Manifest | Index, read: Read, child: Child) -> Iterator[Part]:
    """Read everything that a root says about cache; what `child` does not have is left out.

    Raises InvalidImage.
    """
    if isinstance(root, Manifest):
        yield from _parts(root, read)
        return
    for entry in root.manifests:
        if entry.media_type == foreign_cache.CONFIG_TYPE:
            yield foreign_cache.parse_foreign(read(entry, limit=foreign_cache.MAX_BYTES))
            return
    if len(root.manifests) > MAX_MANIFESTS:
        raise InvalidImage(f"the cache has {len(root.manifests)} manifests: too many")
    for entry in root.manifests:
        if entry.platform is not None and entry.platform.os == _NOWHERE:
            continue  # an attestation
        document = child(entry)
        if isinstance(document, Index):
            raise InvalidImage("the cache is an index of indexes")
        if document is not None:
            yield from _parts(document, read)


def stored_parts(store: Store, root: Descriptor) -> Iterator[Part]:
    """Read what an image of the store says about cache; raise InvalidImage or NotFound."""

    def read(descriptor: Descriptor, /, *, limit: int) -> bytes:
        return store.content.read(descriptor.digest, limit=limit)

    def child(entry: Descriptor) -> Manifest | Index | None:
        return store.images.document(entry) if store.content.has(entry.digest) else None

    yield from root_parts(store.images.document(root), read, child)


def layout_parts(layout: CacheLayout) -> Iterator[Part]:
    """Read what a directory says about cache that is not a cache of ours: an image, another's.

    Raises InvalidImage or NotFound.
    """

    def document(entry: Descriptor) -> Manifest | Index:
        content = layout.read(entry, limit=MAX_MANIFEST_BYTES)
        return parse_manifest_or_index(content, entry.media_type)

    for entry in layout.entries():
        is_ours = entry.artifact_type == cache_document.CACHE_TYPE
        if not is_ours and entry.media_type in media.MANIFESTS | media.INDEXES:
            yield from root_parts(document(entry), layout.read, document)


def _parts(manifest: Manifest, read: Read) -> Iterator[Part]:
    """Read what a manifest says about cache: nothing if it is an image without any."""
    config = manifest.config
    if config.media_type == cache_document.CONFIG_TYPE:
        yield cache_document.parse(read(config, limit=cache_document.MAX_DOCUMENT_BYTES))
    elif config.media_type == MOUNT_TYPE:
        yield manifest
    elif config.media_type == foreign_cache.CONFIG_TYPE:
        yield foreign_cache.parse_foreign(read(config, limit=foreign_cache.MAX_BYTES))
    elif media.to_oci(config.media_type) == media.CONFIG:
        yield from _inline(manifest, read(config, limit=MAX_CONFIG_BYTES))


def _inline(manifest: Manifest, content: bytes) -> Iterator[Part]:
    """Read the cache in an image's config, ours or another builder's."""
    document = inline_cache.parse_image(manifest, content)
    if document is not None:
        yield document
        return
    value = json.load_object(content, what="the image config", max_bytes=MAX_CONFIG_BYTES)
    text = json.string(value, foreign_cache.INLINE_KEY, "")
    if text:
        records = inline_cache.decoded(text)
        yield foreign_cache.parse_foreign_records(records, len(manifest.layers))
