"""Everything the store holds and who needs it, read in one go: the ground of `gc` and `usage`."""

import contextlib
import os
from collections.abc import Collection, Iterable, Sequence

from builder.errors import BuilderError, StoreError
from builder.oci.config import chain_on
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.store.failure import translated
from builder.store.images import StoredImage
from builder.store.marking import with_ancestors
from builder.store.store import Store
from builder.values import NamedTuple

_BLOCK_BYTES = 512


class Entry(NamedTuple):
    """A committed snapshot."""

    id: int
    parent: int | None
    name: str
    diff_id: Digest | None
    size_bytes: int
    created_s: int
    last_used_s: int
    same_as: int | None
    """Whose changes it has, if they are another's."""

    @property
    def below(self) -> tuple[int, ...]:
        """The snapshots that must stay as long as this one does."""
        return tuple(number for number in (self.parent, self.same_as) if number is not None)


class Source(NamedTuple):
    """What a registry's tag last stood for."""

    name: str
    descriptor: Descriptor
    last_used_s: int


class Inventory(NamedTuple):
    """A consistent view, if the sweep lock is held; otherwise a good guess."""

    snapshots: dict[int, Entry]
    images: tuple[StoredImage, ...]
    sources: tuple[Source, ...]
    blobs: dict[Digest, int]
    """All blobs and the bytes each takes on disk."""
    layer_blobs: dict[Digest, tuple[Digest, ...]]
    """The blobs with each diff ID."""
    pinned_images: set[Digest]
    """Manifests that containers, lists or leases hold."""
    pinned_blobs: set[Digest]
    pinned_snapshots: set[int]
    """Snapshots that containers, leases or active snapshots hold, with their ancestors."""
    recorded: set[int]
    """Snapshots that a cached step or a source came to, with their ancestors."""


def take(store: Store, gone: Collection[str] = ()) -> Inventory:
    """Read the rows, the blobs' sizes and everyone's pins; snapshots are measured if need be.

    What the owners `gone` need counts as if they were not there.
    """
    snapshots = _snapshots(store)
    below = {entry.id: entry.below for entry in snapshots.values()}
    leased = store.leases.live()
    pinned_images, pinned_snapshots = store.pins.marks(gone)
    active = [
        parent
        for parent, owner in store.database.query(
            "SELECT parent, owner FROM snapshots WHERE is_committed = 0"
        )
        if parent is not None and owner not in gone
    ]
    held = with_ancestors({*pinned_snapshots, *leased.snapshots, *active}, below)
    inventory = Inventory(
        snapshots,
        store.images.list(),
        _sources(store),
        _blobs(store),
        _layer_blobs(store),
        pinned_images | leased.images | store.lists.marks(),
        leased.blobs,
        held & snapshots.keys(),
        set(),
    )
    recorded = {
        row[0]
        for row in store.database.query("SELECT DISTINCT snapshot FROM records")
        if row[0] is not None
    }
    sources = parts_of(store, [s.descriptor for s in inventory.sources], inventory).snapshots
    inventory.recorded.update(with_ancestors(recorded, below) & snapshots.keys() | sources)
    return inventory


def measure(store: Store) -> None:
    """Measure the snapshots that never were; walks their trees, so take no lock for it."""
    for (snapshot_id,) in store.database.query(
        "SELECT id FROM snapshots WHERE is_committed = 1 AND size_bytes IS NULL"
    ):
        with contextlib.suppress(StoreError):  # it may have gone meanwhile
            store.snapshots.measure(snapshot_id)


class Parts(NamedTuple):
    """What images consist of."""

    blobs: set[Digest]
    snapshots: set[int]


def parts_of(store: Store, descriptors: Iterable[Descriptor], inventory: Inventory) -> Parts:
    """Collect the blobs of images and the snapshots of their layers; what is broken is left out."""
    parts = Parts(set(), set())
    below = {entry.id: entry.below for entry in inventory.snapshots.values()}
    for descriptor in descriptors:
        try:
            found_parts = list(store.images.closure(descriptor))
        except BuilderError:
            continue
        parts.blobs.update(part.digest for part in found_parts)
        for diff_ids in store.images.chains(found_parts):
            parts.snapshots.update(_snapshots_of(store, diff_ids))
    found = with_ancestors(parts.snapshots, below) & inventory.snapshots.keys()
    return Parts(parts.blobs, found)


def blob_bytes(inventory: Inventory, digests: Iterable[Digest]) -> int:
    """Add up what blobs take on disk, each once."""
    return sum(inventory.blobs.get(digest, 0) for digest in set(digests))


def snapshot_bytes(inventory: Inventory, ids: Iterable[int]) -> int:
    """Add up what snapshots take on disk."""
    return sum(inventory.snapshots[i].size_bytes for i in set(ids) if i in inventory.snapshots)


def layer_blobs_of(inventory: Inventory, ids: Iterable[int]) -> set[Digest]:
    """Collect the blobs that carry the changes of snapshots."""
    found: set[Digest] = set()
    for snapshot_id in ids:
        entry = inventory.snapshots.get(snapshot_id)
        if entry is not None and entry.diff_id is not None:
            found.update(inventory.layer_blobs.get(entry.diff_id, ()))
    return found


def _snapshots_of(store: Store, diff_ids: Sequence[Digest]) -> set[int]:
    """Find what is unpacked of a chain of layers."""
    chain: Digest | None = None
    found: set[int] = set()
    for diff_id in diff_ids:
        chain = chain_on(chain, diff_id)
        row = store.database.one("SELECT snapshot FROM chains WHERE chain_id = ?", chain)
        if row is not None:
            found.add(row[0])
    return found


def _snapshots(store: Store) -> dict[int, Entry]:
    rows = store.database.query(
        "SELECT id, parent, ifnull(nullif(name, ''),"
        " ifnull((SELECT min(name) FROM records WHERE snapshot = snapshots.id), '')),"
        " diff_id, ifnull(size_bytes, 0), created_s, last_used_s, same_as"
        " FROM snapshots WHERE is_committed = 1"
    )
    return {row[0]: Entry(*row) for row in rows}


def _sources(store: Store) -> tuple[Source, ...]:
    rows = store.database.query(
        "SELECT name, media_type, digest, size_bytes, last_used_s FROM sources"
    )
    return tuple(Source(r[0], Descriptor(r[1], Digest(r[2]), r[3]), r[4]) for r in rows)


def _blobs(store: Store) -> dict[Digest, int]:
    found: dict[Digest, int] = {}
    with translated(store.paths.blobs):
        for digest, _size_bytes in store.content.walk():
            try:
                blocks = os.stat(store.content.path(digest)).st_blocks
            except FileNotFoundError:
                continue
            found[digest] = blocks * _BLOCK_BYTES
    return found


def _layer_blobs(store: Store) -> dict[Digest, tuple[Digest, ...]]:
    found: dict[Digest, tuple[Digest, ...]] = {}
    for diff_id, digest in store.database.query("SELECT diff_id, digest FROM layers"):
        found[Digest(diff_id)] = (*found.get(Digest(diff_id), ()), Digest(digest))
    return found
