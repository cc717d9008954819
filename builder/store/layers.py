"""Which blob carries the changes of which snapshot, and which snapshot is which chain of layers.

A blob is written when something first asks for it, once, whoever asks; the layers of a pulled image
keep the blobs they came in.
"""

from builder.concurrency import CancelToken
from builder.oci.config import chain_on
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.layer import Layer
from builder.oci.media import Compression, compression_of, layer_media_type
from builder.store.content import Content
from builder.store.database import Database
from builder.store.locks import Locks
from builder.store.snapshots import Snapshots
from builder.store.snapshotter import Snapshot


class Layers:
    """The layers of one state directory's snapshots; methods may be called from any thread."""

    def __init__(
        self, database: Database, content: Content, snapshots: Snapshots, locks: Locks
    ) -> None:
        """Keep the collaborators."""
        self._database = database
        self._content = content
        self._snapshots = snapshots
        self._locks = locks

    def by_chain(self, chain: Digest) -> Snapshot | None:
        """Find the snapshot of a stack of layers and pin it."""
        row = self._database.one("SELECT snapshot FROM chains WHERE chain_id = ?", chain)
        return None if row is None else self._snapshots.find(row[0])

    def bind_chain(self, chain: Digest, snapshot: Snapshot) -> None:
        """Remember which snapshot a stack of layers comes to."""
        self._database.query("INSERT OR REPLACE INTO chains VALUES (?, ?)", chain, snapshot.id)

    def diff_id(self, snapshot: Snapshot) -> Digest | None:
        """Give the diff ID of a snapshot's own changes, if its layer was ever written."""
        row = self._database.one("SELECT diff_id FROM snapshots WHERE id = ?", snapshot.id)
        if row is not None and row[0] is not None:
            return Digest(row[0])
        return None if snapshot.origin == snapshot.id else self._diff_id_of_others(snapshot)

    def find(self, snapshot: Snapshot, compression: Compression | None = None) -> Layer | None:
        """Find a stored blob of a snapshot's changes; see find_diff."""
        diff_id = self.diff_id(snapshot)
        return None if diff_id is None else self.find_diff(diff_id, compression)

    def find_diff(
        self, diff_id: Digest, compression: Compression | None = None, level: int | None = None
    ) -> Layer | None:
        """Find a blob with these changes, compressed so and at this level if it matters.

        A pulled one is preferred. The blob is here and pinned; rows of vanished blobs are dropped.
        """
        rows = self._database.query(
            "SELECT digest, media_type, size_bytes, compression, level, is_pulled FROM layers"
            " WHERE diff_id = ? ORDER BY is_pulled DESC, digest",
            diff_id,
        )
        for digest, media_type, size_bytes, stored, stored_level, is_pulled in rows:
            if compression not in {None, stored}:
                continue
            if level is not None and not is_pulled and stored_level != level:
                continue
            if self._content.has(digest) and self._content.size(digest) == size_bytes:
                return Layer(diff_id, Descriptor(media_type, digest, size_bytes))
            self._database.query(
                "DELETE FROM layers WHERE diff_id = ? AND digest = ?", diff_id, digest
            )
        return None

    def save(
        self,
        snapshot: Snapshot | None,
        layer: Layer,
        *,
        level: int | None = None,
        is_pulled: bool = False,
    ) -> None:
        """Remember the blob of a snapshot's changes (or of changes that no snapshot has yet)."""
        blob = layer.descriptor
        with self._database.transaction():
            self._database.query(
                "INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?, ?, ?)",
                layer.diff_id,
                blob.digest,
                blob.media_type,
                blob.size_bytes,
                compression_of(blob.media_type),
                level,
                int(is_pulled),
            )
            if snapshot is not None:
                self._database.query(
                    "UPDATE snapshots SET diff_id = ? WHERE id = ?", layer.diff_id, snapshot.id
                )

    def ensure(
        self,
        snapshot: Snapshot,
        compression: Compression = "gzip",
        level: int | None = None,
        *,
        token: CancelToken | None = None,
    ) -> Layer:
        """Find the blob of a snapshot's changes, or write it: once, however many ask at a time."""
        found = self._found(snapshot, compression, level)
        if found is not None:
            return found
        with self._locks.held(f"layer {snapshot.origin}", token=token):
            found = self._found(snapshot, compression, level)
            return found or self._write(snapshot, compression, level, token)

    def ensure_all(
        self,
        snapshot: Snapshot | None,
        compression: Compression = "gzip",
        level: int | None = None,
        *,
        token: CancelToken | None = None,
    ) -> tuple[Layer, ...]:
        """Find or write the blobs of a whole chain, the lowest first, and bind its chain IDs.

        Layers that were pulled stay as they were, whatever their compression.
        """
        layers: list[Layer] = []
        chain: Digest | None = None
        for part in self._snapshots.chain(snapshot):
            layer = self.pulled(part) or self.ensure(part, compression, level, token=token)
            layers.append(layer)
            chain = chain_on(chain, layer.diff_id)
            if self.by_chain(chain) is None:
                self.bind_chain(chain, part)
        return tuple(layers)

    def pulled(self, snapshot: Snapshot) -> Layer | None:
        """Find the blob that a snapshot's layer came in; None if it was made here."""
        diff_id = self.diff_id(snapshot)
        if diff_id is None:
            return None
        row = self._database.one(
            "SELECT 1 FROM layers WHERE diff_id = ? AND is_pulled = 1", diff_id
        )
        return None if row is None else self.find_diff(diff_id)

    def _diff_id_of_others(self, snapshot: Snapshot) -> Digest | None:
        """Give the diff ID of another state that has the same one's changes, now this one's too."""
        row = self._database.one(
            "SELECT diff_id FROM snapshots WHERE same_as = ? AND diff_id IS NOT NULL",
            snapshot.origin,
        )
        if row is None:
            return None
        self._database.query("UPDATE snapshots SET diff_id = ? WHERE id = ?", row[0], snapshot.id)
        return Digest(row[0])

    def _found(
        self, snapshot: Snapshot, compression: Compression, level: int | None
    ) -> Layer | None:
        diff_id = self.diff_id(snapshot)
        return None if diff_id is None else self.find_diff(diff_id, compression, level)

    def _write(
        self,
        snapshot: Snapshot,
        compression: Compression,
        level: int | None,
        token: CancelToken | None,
    ) -> Layer:
        from builder.store.layering import LayerBlob  # the compressors cost 3 ms

        check = (lambda: None) if token is None else token.check
        writing = LayerBlob(snapshot, self._snapshots, self._content, compression, level, check)
        blob = writing.write(self.find)
        media_type = layer_media_type(compression)
        layer = Layer(blob.diff_id, Descriptor(media_type, blob.digest, blob.size_bytes))
        self.save(snapshot, layer, level=level)
        return layer
