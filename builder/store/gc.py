"""Collection: what nobody needs goes, as much of the cache as was asked for goes, nothing else.

Marks come from names, containers and living leases. The exclusive sweep lock is held while rows go
and files move to the trash, in which they are removed after it. A builder that looks something up
meanwhile waits some milliseconds, and then either has it pinned or does not find it.
"""

import os
import time
from collections.abc import Callable, Collection, Iterable

from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.store import inventory as inventories
from builder.store.cache_mounts import CacheMountUsage
from builder.store.images import StoredImage
from builder.store.inventory import Inventory, layer_blobs_of, parts_of
from builder.store.marking import Node, Policy, Space, evicted
from builder.store.store import Store
from builder.values import NamedTuple

_FORGET_S = 60 * 86_400
_EVERYTHING = Policy()


def all_images(_image: StoredImage) -> bool:
    """Choose every image."""
    return True


class Scope(NamedTuple):
    """What a prune is about. `ids` narrows the cache to some snapshots or cache mounts."""

    cache: bool = True
    cache_mounts: bool = True
    dangling_images: bool = False
    unused_images: bool = False
    ids: tuple[str, ...] = ()
    until_s: int | None = None
    """Only what was made (images) or last used (cache) at least so long ago; seconds."""
    is_chosen: Callable[[StoredImage], bool] = all_images


class Item(NamedTuple):
    """One thing that goes. Kinds: image, snapshot, cache-mount, source, blob."""

    kind: str
    name: str
    description: str
    size_bytes: int
    last_used_s: int


class Pruned(NamedTuple):
    """What went, or with a dry run would go; the bytes are those on disk."""

    items: tuple[Item, ...]
    freed_bytes: int


def prune(
    store: Store,
    scope: Scope,
    policy: Policy | None = None,
    *,
    is_dry_run: bool = False,
    gone: Collection[str] = (),
) -> Pruned:
    """Remove what is in scope; with a policy, only as much of the cache as its limits ask for.

    What a name, a container or a living process needs is never touched. A dry run may take some
    owners for `gone`, and tells what could go without them.
    """
    inventories.measure(store)
    store.records.flush()
    if is_dry_run:
        return _Plan(store, inventories.take(store, gone), scope, policy).pruned()
    with store.leases.sweeping():
        plan = _Plan(store, inventories.take(store), scope, policy)
        plan.perform()
    store.empty_trash()
    return plan.pruned()


def collect(store: Store, policy: Policy) -> Pruned:
    """Keep the store within a policy: garbage goes anyway, cache as far as the limits ask."""
    return prune(store, Scope(), policy)


def sweep(store: Store) -> Pruned:
    """Remove garbage alone: what no image, container, process or cached step refers to."""
    return prune(store, Scope(cache=False, cache_mounts=False))


class _Plan:
    """What goes, decided from an inventory; nothing is touched before `perform`."""

    def __init__(
        self, store: Store, inventory: Inventory, scope: Scope, policy: Policy | None
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._now_s = int(time.time())
        self._images = self._doomed_images(scope)
        kept = [image for image in inventory.images if image not in self._images]
        self._needed = self._parts_kept(kept)
        self._mounts: list[CacheMountUsage] = []
        self._sources: list[inventories.Source] = []
        self._snapshots = self._garbage_snapshots()
        if scope.cache or scope.cache_mounts:
            self._choose_cache(scope, policy or _EVERYTHING)
        self._blobs = self._doomed_blobs()

    def pruned(self) -> Pruned:
        """Tell what goes."""
        items = [
            *self._image_items(),
            *(self._snapshot_item(snapshot_id) for snapshot_id in self._snapshots),
            *(Item("cache-mount", m.hash, m.id, m.size_bytes, m.last_used_s) for m in self._mounts),
            *(Item("source", s.name, s.name, 0, s.last_used_s) for s in self._sources),
            *(Item("blob", d, "", self._inventory.blobs[d], 0) for d in self._blobs),
        ]
        return Pruned(tuple(items), sum(item.size_bytes for item in items))

    def perform(self) -> None:
        """Remove rows first, then move files to the trash; the caller holds the sweep lock."""
        store = self._store
        for image in self._images:
            store.images.remove(image.descriptor.digest)
        store.recovery.drop_snapshots(self._snapshots)
        store.recovery.drop_orphans()
        with store.database.transaction():
            store.database.query_many(
                "DELETE FROM sources WHERE name = ?", [(s.name,) for s in self._sources]
            )
            store.database.query_many(
                "DELETE FROM layers WHERE digest = ?", [(digest,) for digest in self._blobs]
            )
            self._forget_old_rows()
        for digest in self._blobs:
            store.content.delete(digest)
        for mount in self._mounts:
            store.cache_mounts.remove(mount.hash)
        if self._blobs or self._snapshots:
            store.images.write_index()  # a new file: whoever remembers an answer asks again

    def _doomed_images(self, scope: Scope) -> list[StoredImage]:
        if not scope.dangling_images and not scope.unused_images:
            return []
        return [
            image
            for image in self._inventory.images
            if (scope.unused_images or not image.names)
            and image.descriptor.digest not in self._inventory.pinned_images
            and (not scope.until_s or self._now_s - image.created_s >= scope.until_s)
            and scope.is_chosen(image)
        ]

    def _parts_kept(self, kept: Iterable[StoredImage]) -> inventories.Parts:
        """Collect what images that stay, containers and leases need."""
        inventory = self._inventory
        descriptors = [image.descriptor for image in kept]
        known = {d.digest: d for d in descriptors}
        known.update((s.descriptor.digest, s.descriptor) for s in inventory.sources)
        for image in inventory.images:
            known.setdefault(image.descriptor.digest, image.descriptor)
        pinned = [known.get(d) or Descriptor("", d, 0) for d in inventory.pinned_images]
        parts = parts_of(self._store, [*descriptors, *pinned], inventory)
        return inventories.Parts(
            parts.blobs | inventory.pinned_blobs | inventory.pinned_images,
            parts.snapshots | inventory.pinned_snapshots,
        )

    def _garbage_snapshots(self) -> list[int]:
        """List the snapshots that nobody needs and no cached step came to, children first."""
        doomed = (
            self._inventory.snapshots.keys() - self._needed.snapshots - self._inventory.recorded
        )
        return sorted(doomed, reverse=True)

    def _choose_cache(self, scope: Scope, policy: Policy) -> None:
        """Evict snapshots, cache mounts and sources by the policy."""
        inventory = self._inventory
        gone = set(self._snapshots)
        entries = [e for e in inventory.snapshots.values() if e.id not in gone]
        index_of = {entry.id: index for index, entry in enumerate(entries)}
        nodes = [
            Node(
                "snapshot", str(e.id), tuple(index_of[i] for i in e.below if i in index_of),
                e.last_used_s, e.size_bytes + self._own_blob_bytes(e),
            )
            for e in entries
        ]  # fmt: skip
        mounts = self._store.cache_mounts.usages()
        nodes += [Node("cache-mount", m.hash, (), m.last_used_s, m.size_bytes) for m in mounts]
        sources = inventory.sources
        nodes += [Node("source", s.name, (), s.last_used_s, 0) for s in sources]
        needed = {index_of[i] for i in self._needed.snapshots if i in index_of}
        needed.update(i for i, node in enumerate(nodes) if not _is_in_scope(node, scope))
        limits = policy._replace(unused_s=max(policy.unused_s or 0, scope.until_s or 0))
        chosen = evicted(nodes, needed, limits, self._space(mounts), now_s=self._now_s)
        for index in chosen:
            if index < len(entries):
                self._snapshots.append(entries[index].id)
            elif index < len(entries) + len(mounts):
                self._mounts.append(mounts[index - len(entries)])
            else:
                self._sources.append(sources[index - len(entries) - len(mounts)])

    def _own_blob_bytes(self, entry: inventories.Entry) -> int:
        blobs = layer_blobs_of(self._inventory, [entry.id]) - self._needed.blobs
        return inventories.blob_bytes(self._inventory, blobs)

    def _space(self, mounts: Iterable[CacheMountUsage]) -> Space:
        """Measure the cache, which the policy's limits are about: what is needed is no cache."""
        inventory = self._inventory
        kept = self._needed.snapshots.union(self._snapshots)
        used = (
            sum(size for blob, size in inventory.blobs.items() if blob not in self._needed.blobs)
            + sum(e.size_bytes for e in inventory.snapshots.values() if e.id not in kept)
            + sum(mount.size_bytes for mount in mounts)
        )
        status = os.statvfs(self._store.root)
        return Space(used, status.f_bavail * status.f_frsize)

    def _doomed_blobs(self) -> list[Digest]:
        inventory = self._inventory
        kept = inventory.snapshots.keys() - set(self._snapshots)
        gone = {source.name for source in self._sources}
        sources = [s.descriptor for s in inventory.sources if s.name not in gone]
        needed = (
            self._needed.blobs
            | layer_blobs_of(inventory, kept)
            | parts_of(self._store, sources, inventory).blobs
        )
        return sorted(inventory.blobs.keys() - needed)

    def _forget_old_rows(self) -> None:
        """Forget records without a snapshot, steps and memos that nobody has used for long."""
        oldest_s = self._now_s - _FORGET_S
        for statement in (
            "DELETE FROM records WHERE snapshot IS NULL AND last_used_s < ?",
            "DELETE FROM steps WHERE time_s < ?",
            "DELETE FROM memos WHERE last_used_s < ?",
        ):
            self._store.database.query(statement, oldest_s)

    def _image_items(self) -> Iterable[Item]:
        for image in self._images:
            names = " ".join(name.familiar for name in image.names)
            yield Item("image", image.image_id, names, 0, image.created_s)

    def _snapshot_item(self, snapshot_id: int) -> Item:
        entry = self._inventory.snapshots[snapshot_id]
        return Item("snapshot", str(entry.id), entry.name, entry.size_bytes, entry.last_used_s)


def _is_in_scope(node: Node, scope: Scope) -> bool:
    if scope.ids and node.name not in scope.ids:
        return False
    return scope.cache_mounts if node.kind == "cache-mount" else scope.cache
