"""Where the disk went: by kind for `df`, entry by entry for `du`. Shared bytes are counted once."""

import os
from collections.abc import Sequence

from builder.oci.digest import Digest
from builder.store import inventory as inventories
from builder.store.inventory import Inventory, Parts, blob_bytes, parts_of, snapshot_bytes
from builder.store.sizes import directory_size
from builder.store.store import Store
from builder.values import NamedTuple

_IN_USE = "in use"


class Usage(NamedTuple):
    """One line of `df`. `active` counts those in use; kinds as in `builder df`."""

    kind: str
    entries: int
    active: int
    size_bytes: int
    reclaimable_bytes: int


class ImageSize(NamedTuple):
    """What an image takes: blobs and unpacked layers; `shared` is also part of other images."""

    size_bytes: int
    shared_bytes: int


class CacheEntry(NamedTuple):
    """One line of `du`. Kinds: snapshot, cache-mount, source."""

    name: str
    parent: str
    kind: str
    description: str
    size_bytes: int
    created_s: int
    last_used_s: int
    is_in_use: bool
    is_shared: bool
    """Whether an image has it too, so that it would not be pruned."""
    holders: tuple[str, ...] = ()
    """The names or IDs of the images that have it, and `in use` for containers and builds."""


def usage(store: Store) -> tuple[Usage, ...]:
    """Measure everything, by kind."""
    inventories.measure(store)
    inventory = inventories.take(store)
    parts = parts_of(store, [image.descriptor for image in inventory.images], inventory)
    return (
        _images(store, inventory, parts),
        _cache(inventory, parts),
        _cache_mounts(store),
        _containers(store),
        _volumes(store),
    )


def image_sizes(store: Store) -> dict[Digest, ImageSize]:
    """Measure every image, by the digest of its manifest or index."""
    inventories.measure(store)
    inventory = inventories.take(store)
    parts = {
        image.descriptor.digest: parts_of(store, [image.descriptor], inventory)
        for image in inventory.images
    }
    sizes: dict[Digest, ImageSize] = {}
    for digest, own in parts.items():
        others = [part for other, part in parts.items() if other != digest]
        shared = Parts(
            own.blobs & {blob for part in others for blob in part.blobs},
            own.snapshots & {snapshot for part in others for snapshot in part.snapshots},
        )
        sizes[digest] = ImageSize(_size(inventory, own), _size(inventory, shared))
    return sizes


def cache_entries(store: Store) -> tuple[CacheEntry, ...]:
    """List the build cache: every snapshot, cache mount and source."""
    inventories.measure(store)
    inventory = inventories.take(store)
    holders = _holders(store, inventory)
    snapshots = [
        CacheEntry(
            str(entry.id),
            "" if entry.parent is None else str(entry.parent),
            "snapshot",
            entry.name,
            entry.size_bytes,
            entry.created_s,
            entry.last_used_s,
            entry.id in inventory.pinned_snapshots,
            any(holder != _IN_USE for holder in holders.get(entry.id, ())),
            holders.get(entry.id, ()),
        )
        for entry in inventory.snapshots.values()
    ]
    mounts = [
        CacheEntry(
            m.hash, "", "cache-mount", m.id, m.size_bytes, m.created_s, m.last_used_s,
            is_in_use=False, is_shared=False,
        )
        for m in store.cache_mounts.usages()
    ]  # fmt: skip
    sources = [
        CacheEntry(
            s.name, "", "source", s.name, 0, s.last_used_s, s.last_used_s,
            is_in_use=s.descriptor.digest in inventory.pinned_images, is_shared=False,
        )
        for s in inventory.sources
    ]  # fmt: skip
    return (*snapshots, *mounts, *sources)


def _holders(store: Store, inventory: Inventory) -> dict[int, tuple[str, ...]]:
    """Name for each snapshot the images that have it, and whether anything else holds it."""
    found: dict[int, tuple[str, ...]] = dict.fromkeys(inventory.pinned_snapshots, (_IN_USE,))
    for image in inventory.images:
        names = tuple(name.familiar for name in image.names) or (image.image_id[:19],)
        for snapshot in parts_of(store, [image.descriptor], inventory).snapshots:
            found[snapshot] = (*found.get(snapshot, ()), *names)
    return found


def _size(inventory: Inventory, parts: Parts) -> int:
    return blob_bytes(inventory, parts.blobs) + snapshot_bytes(inventory, parts.snapshots)


def _images(store: Store, inventory: Inventory, parts: Parts) -> Usage:
    pinned, _snapshots = store.pins.marks()
    used = [image for image in inventory.images if image.descriptor.digest in pinned]
    active = parts_of(store, [image.descriptor for image in used], inventory)
    size_bytes = _size(inventory, parts)
    reclaimable = size_bytes - _size(inventory, active)
    return Usage("image", len(inventory.images), len(used), size_bytes, reclaimable)


def _cache(inventory: Inventory, images: Parts) -> Usage:
    cached = inventory.snapshots.keys() - images.snapshots
    blobs = inventory.blobs.keys() - images.blobs
    in_use = cached & inventory.pinned_snapshots
    size_bytes = snapshot_bytes(inventory, cached) + blob_bytes(inventory, blobs)
    reclaimable = size_bytes - snapshot_bytes(inventory, in_use)
    return Usage("cache", len(cached), len(in_use), size_bytes, reclaimable)


def _cache_mounts(store: Store) -> Usage:
    mounts = store.cache_mounts.usages()
    size_bytes = sum(mount.size_bytes for mount in mounts)
    return Usage("cache-mount", len(mounts), 0, size_bytes, size_bytes)


def _containers(store: Store) -> Usage:
    names = _names(store.paths.containers)
    size_bytes = sum(directory_size(f"{store.paths.containers}/{name}") for name in names)
    rows = store.database.query(
        "SELECT id FROM snapshots WHERE is_committed = 0 AND owner GLOB 'container:*'"
    )
    for (snapshot_id,) in rows:
        if os.path.isdir(store.paths.snapshot(snapshot_id)):
            size_bytes += directory_size(store.paths.snapshot(snapshot_id))
    return Usage("container", len(names), 0, size_bytes, size_bytes)


def _volumes(store: Store) -> Usage:
    names = _names(store.paths.volumes)
    size_bytes = sum(directory_size(f"{store.paths.volumes}/{name}") for name in names)
    return Usage("volume", len(names), 0, size_bytes, size_bytes)


def _names(path: str) -> Sequence[str]:
    return [name for name in os.listdir(path) if os.path.isdir(f"{path}/{name}")]
