"""A cache on its way into a registry: blobs that it lacks, manifests, and the tag last.

The root is one manifest whose config is the document; an index of several where the blobs are too
many for one, where mounts travel along, or where the user wants one. Every blob is named by some
manifest, so that no registry takes it for garbage.

Spec: OCI image-spec, manifest.md, "Guidelines for Artifact Usage".
"""

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from builder.concurrency import CancelToken, Pool
from builder.engine.cache_document import CACHE_TYPE, CONFIG_TYPE, to_json
from builder.engine.cache_spec import CacheSpec
from builder.engine.collecting import Collection
from builder.engine.pulls import transfer_report
from builder.engine.steps import reported
from builder.errors import BuilderError
from builder.oci import descriptor as descriptors
from builder.oci import media
from builder.oci.descriptor import Descriptor, Index, Manifest, describe
from builder.oci.digest import Digest
from builder.oci.reference import parse_reference
from builder.registry.download import Report, Stop
from builder.registry.pull import outcome, raise_first
from builder.registry.push import CONNECTIONS, Pusher
from builder.registry.repository import Repository
from builder.registry.upload import Upload
from builder.store.store import Store
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.engine.bases import BaseImages

MAX_BLOBS = 400
"""How many blobs one manifest names: some readers refuse more than 500."""
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_EMPTY = b"{}"

Open = Callable[[], int]
"""Opens a blob for reading; whoever calls it closes the descriptor."""


class Parcel(NamedTuple):
    """A document and the blobs that it is about; they become a manifest, or several."""

    document: Descriptor
    blobs: tuple[Descriptor, ...]
    kind: str = CACHE_TYPE


class Shipment:
    """What one export sends to one repository."""

    def __init__(
        self, store: Store, repository: Repository, token: CancelToken, report: Report
    ) -> None:
        """Keep the collaborators; nothing is sent yet."""
        self._repository = repository
        self._stop = Stop(token)
        self._report = report
        self._sources: dict[Digest, tuple[Descriptor, Open]] = {}
        self._parcels: list[Parcel] = []
        self._pusher = Pusher(store.content, repository, token, report)

    def add(self, parcel: Parcel, open_blob: Callable[[Descriptor], int]) -> None:
        """Take a parcel along, whose blobs are opened so; the document is added by `add_bytes`."""
        for blob in parcel.blobs:
            self._sources[blob.digest] = (blob, lambda blob=blob: open_blob(blob))  # type: ignore[misc]
        self._parcels.append(parcel)

    def add_bytes(self, content: bytes, media_type: str) -> Descriptor:
        """Take a blob along that is in memory."""
        descriptor = describe(content, media_type)
        self._sources[descriptor.digest] = (descriptor, lambda: _in_memory(content))
        return descriptor

    def send(self, spec: CacheSpec, tag: str) -> Descriptor:
        """Send everything, and name it by a tag; raise RegistryError."""
        manifests = [one for parcel in self._parcels for one in self._manifests(parcel, spec)]
        self._send_blobs()
        typed = media.to_oci if spec.has_oci_types else media.to_docker
        written = [(descriptors.to_json(one), one.media_type) for one in manifests]
        if len(written) == 1 and spec.is_manifest:
            [(content, media_type)] = written
            root = describe(content, media_type)
        else:
            entries = tuple(describe(content, kind) for content, kind in written)
            for (content, _kind), entry in zip(written, entries, strict=True):
                self._pusher.put_manifest(content, entry, entry.digest)
            kind = CACHE_TYPE if spec.has_oci_types else ""
            index = Index(typed(media.INDEX), entries, artifact_type=kind)
            content = descriptors.to_json(index)
            root = describe(content, index.media_type)
        self._pusher.put_manifest(content, root, tag)
        return root

    def _manifests(self, parcel: Parcel, spec: CacheSpec) -> Iterator[Manifest]:
        """Write a parcel's manifests: the first one has the document."""
        typed = media.to_oci if spec.has_oci_types else media.to_docker
        kind = parcel.kind if spec.has_oci_types else ""
        unique = {blob.digest: blob for blob in parcel.blobs}
        blobs = [
            Descriptor(typed(blob.media_type), blob.digest, blob.size_bytes)
            for blob in unique.values()
        ]
        for start in range(0, max(1, len(blobs)), MAX_BLOBS):
            config = self.add_bytes(_EMPTY, EMPTY_TYPE) if start else parcel.document
            layers = tuple(blobs[start : start + MAX_BLOBS])
            yield Manifest(typed(media.MANIFEST), config, layers, artifact_type=kind)

    def _send_blobs(self) -> None:
        """Send what is missing over a few connections, large blobs first."""
        ordered = sorted(self._sources.values(), key=lambda one: -one[0].size_bytes)
        with Pool(CONNECTIONS) as pool:
            tasks = [pool.submit(self._send_blob, blob, source) for blob, source in ordered]
            raise_first([outcome(task) for task in tasks])

    def _send_blob(self, blob: Descriptor, source: Open) -> None:
        try:
            self._stop.check()
            upload = Upload(self._repository, blob, self._stop, self._report)
            if upload.is_there():
                self._report(blob.digest, blob.size_bytes, blob.size_bytes)
            else:
                upload.send(source)
        except BaseException:
            self._stop.set()
            raise


def push_cache(bases: "BaseImages", collection: Collection, spec: CacheSpec) -> Descriptor:
    """Push a cache, with all mounts if they are wanted; raise BuilderError."""
    store, reference = bases.store, parse_reference(spec.place)
    if not reference.tag:
        raise BuilderError(f"{spec.place} has no tag to put a cache under", fix="write NAME:TAG")
    with reported(bases.sink, f"exporting cache to {reference.familiar}") as step:
        report = transfer_report(bases.sink, step)
        shipment = Shipment(store, bases.registries.destination(reference), bases.token, report)
        config = shipment.add_bytes(to_json(collection.document), CONFIG_TYPE)
        layers = tuple(one.layer.descriptor for one in collection.document.layers)

        def open_layer(blob: Descriptor) -> int:
            collection.fetch(store, blob)
            return store.content.open(blob.digest)

        shipment.add(Parcel(config, layers), open_layer)
        if spec.has_mounts:
            _add_mounts(store, shipment)
        return shipment.send(spec, reference.tag)


def _add_mounts(store: Store, shipment: Shipment) -> None:
    from builder.engine.mount_files import MOUNT_TYPE
    from builder.engine.mount_packs import packed_mounts

    for mount in packed_mounts(store):
        config = shipment.add_bytes(mount.document, MOUNT_TYPE)
        shipment.add(
            Parcel(config, mount.packs),
            lambda blob, paths=mount.paths: os.open(paths[blob.digest], os.O_RDONLY | os.O_CLOEXEC),  # type: ignore[misc]
        )


def _in_memory(content: bytes) -> int:
    fd = os.memfd_create("document", os.MFD_CLOEXEC)
    try:
        with open(fd, "wb", closefd=False) as out:
            out.write(content)
    except BaseException:
        os.close(fd)
        raise
    return fd
