"""The check of a whole store: is every row backed by bytes, and every byte what its name says.

A check changes nothing. A repair removes what is broken, so that it is fetched or built anew, and
writes down again what can be derived; it loses a name only if its image is not whole.
"""

import os
from collections.abc import Iterator

from builder.errors import BuilderError
from builder.oci.digest import Digest
from builder.store import atomic, image_index, trash
from builder.store.failure import translated
from builder.store.images import StoredImage
from builder.store.store import Store
from builder.values import NamedTuple


class Problem(NamedTuple):
    """One thing that is wrong. Kinds: database, blob, image, snapshot, record, layer, index."""

    kind: str
    name: str
    what: str
    is_repaired: bool


def fsck(store: Store, *, is_repairing: bool, is_deep: bool = True) -> tuple[Problem, ...]:
    """Check everything, and repair if asked; `is_deep` digests all blobs."""
    with store.leases.sweeping():
        return tuple(_Check(store, is_repairing=is_repairing).run(is_deep=is_deep))


class _Check:
    """One pass; blobs first, since images and layers are judged by which of them are good."""

    def __init__(self, store: Store, *, is_repairing: bool) -> None:
        self._store = store
        self._is_repairing = is_repairing
        self._sizes: dict[Digest, int] = {}

    def run(self, *, is_deep: bool) -> Iterator[Problem]:
        yield from self._database()
        yield from self._blobs(is_deep=is_deep)
        yield from self._layers()
        yield from self._images()
        yield from self._snapshots()
        yield from self._orphans()
        yield from self._index()

    def _database(self) -> Iterator[Problem]:
        found = self._store.database.check()
        if found is not None:
            if self._is_repairing:
                self._store.database.replace()
            yield self._problem("database", self._store.paths.database, found)

    def _blobs(self, *, is_deep: bool) -> Iterator[Problem]:
        for digest, size_bytes in self._store.content.walk():
            if is_deep and not self._store.content.verify(digest):
                if self._is_repairing:
                    self._store.content.set_aside(digest)
                yield self._problem("blob", digest, "its bytes have another digest")
            else:
                self._sizes[digest] = size_bytes

    def _layers(self) -> Iterator[Problem]:
        rows = self._store.database.query("SELECT diff_id, digest, size_bytes FROM layers")
        for diff_id, digest, size_bytes in rows:
            if self._sizes.get(digest) == size_bytes:
                continue
            if self._is_repairing:
                self._store.database.query(
                    "DELETE FROM layers WHERE diff_id = ? AND digest = ?", diff_id, digest
                )
            yield self._problem("layer", digest, "the blob of this layer is missing")

    def _images(self) -> Iterator[Problem]:
        for image in self._store.images.list():
            what = self._lack(image)
            if what is None:
                continue
            if self._is_repairing:
                self._store.images.remove(image.descriptor.digest)
            names = " ".join(name.familiar for name in image.names)
            yield self._problem("image", names or image.descriptor.digest, what)

    def _lack(self, image: StoredImage) -> str | None:
        """Say what an image lacks; of an index, no more than one variant need be whole."""
        try:
            inner, manifest = self._store.images.any_manifest(image.descriptor)
        except BuilderError as error:
            return error.what
        for part in (inner, manifest.config, *manifest.layers):
            if self._sizes.get(part.digest) != part.size_bytes:
                return f"its blob {part.digest} is missing or damaged"
        return None

    def _snapshots(self) -> Iterator[Problem]:
        rows = self._store.database.query(
            "SELECT id, parent, is_committed, ifnull(same_as, id) FROM snapshots ORDER BY id"
        )
        known = {row[0] for row in rows}
        for snapshot_id, parent, is_committed, origin in rows:
            what = None
            if not os.path.isdir(f"{self._store.paths.snapshot(origin)}/diff"):
                what = "its directory is missing"
            elif origin not in known:
                what = f"snapshot {origin}, whose changes it has, is missing"
            elif parent is not None and parent not in known:
                what = f"its parent {parent} is missing"
            if what is None or not is_committed:
                continue
            known.discard(snapshot_id)
            if self._is_repairing:
                self._store.recovery.drop_snapshots([snapshot_id])
            yield self._problem("snapshot", str(snapshot_id), what)
        yield from self._records(known)

    def _records(self, known: set[int]) -> Iterator[Problem]:
        rows = self._store.database.query(
            "SELECT key, snapshot FROM records WHERE snapshot IS NOT NULL"
        )
        for key, snapshot_id in rows:
            if snapshot_id not in known:
                if self._is_repairing:
                    self._store.database.query("DELETE FROM records WHERE key = ?", key)
                yield self._problem("record", key, f"its snapshot {snapshot_id} is missing")

    def _orphans(self) -> Iterator[Problem]:
        """Find what no row names: harmless, so that it is only mentioned when removed."""
        if self._is_repairing:
            for snapshot_id in self._store.recovery.drop_orphans():
                yield self._problem("snapshot", str(snapshot_id), "no row names its directory")
            with translated(self._store.paths.cache_mounts):
                for name in os.listdir(self._store.paths.cache_mounts):
                    if name.endswith(".new"):
                        path = f"{self._store.paths.cache_mounts}/{name}"
                        trash.discard(path, self._store.paths.trash)

    def _index(self) -> Iterator[Problem]:
        expected = self._store.images.index_document()
        is_right = atomic.read(self._store.paths.index, len(expected)) == expected
        if not is_right:
            if self._is_repairing:
                self._store.images.write_index()
            yield self._problem("index", image_index.FILE_NAME, "it does not list the images")

    def _problem(self, kind: str, name: str, what: str) -> Problem:
        return Problem(kind, name, what, self._is_repairing)
