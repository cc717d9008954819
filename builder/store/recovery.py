"""What a crash leaves, and how it is cleared away before anything trusts it.

A process that died leaves a lease without a holder: its temporary files and active snapshots go. A
power cut leaves the name of another session: whatever is not marked as being on disk is digested
again (blobs) or dropped, with all that stands on it (snapshots). A lost database is made anew from
`content/index.json`; the snapshots go then, but for those that somebody holds.
"""

import os
from collections.abc import Callable, Iterable

from builder.store import trash
from builder.store.content import Content
from builder.store.database import Database
from builder.store.failure import translated
from builder.store.images import Images
from builder.store.leases import Leases
from builder.store.paths import Paths
from builder.store.session import Session
from builder.store.snapshots import CONTAINER, Snapshots


class Recovery:
    """Clears one state directory of what others left."""

    def __init__(
        self,
        paths: Paths,
        leases: Leases,
        database: Database,
        *,
        content: Content,
        snapshots: Snapshots,
        images: Images,
        warn: Callable[[str], None],
    ) -> None:
        """Keep the collaborators."""
        self._paths = paths
        self._leases = leases
        self._database = database
        self._content = content
        self._snapshots = snapshots
        self._images = images
        self._warn = warn

    def sweep(self) -> None:
        """Look for dead leases and for another session; cheap when there are none."""
        self._leases.sweep_dead(self._clean)
        session = Session.of(self._paths.root)
        if session.may_be(Session.read(self._paths.session)):
            return
        with self._leases.sweeping():
            # Another living process has seen to it already, or sees other mounts.
            is_first = not self._leases.has_living_others()
            if is_first and not session.may_be(Session.read(self._paths.session)):
                self._after_power_cut()
                session.write(self._paths.session)

    def restore(self) -> None:
        """Fill a new database after the old one was lost.

        The sweep lock is not waited for: its holder may be waiting for the new database.
        """
        kept = self._leases.live().snapshots
        with self._leases.unguarded():
            with self._database.transaction(is_durable=True):
                self._snapshots.readopt(kept)
            self._images.restore()
        self._warn("images were restored from content/index.json; the build cache begins anew")

    def drop_snapshots(self, ids: Iterable[int]) -> list[int]:
        """Delete snapshots with all that stands on them; the caller holds the sweep lock.

        Rows go first, directories into the trash. Containers keep their own changes.
        """
        doomed: list[int] = []
        with self._database.transaction():
            for snapshot_id in ids:
                doomed += self._with_descendants(snapshot_id)
            rows = [(snapshot_id,) for snapshot_id in doomed]
            for statement in (
                "DELETE FROM records WHERE snapshot = ?",
                "DELETE FROM chains WHERE snapshot = ?",
                "UPDATE snapshots SET parent = NULL WHERE parent = ?",
                "DELETE FROM snapshots WHERE id = ?",
            ):
                self._database.query_many(statement, rows)
        self._snapshots.forget(doomed)
        for snapshot_id in doomed:
            trash.discard(self._paths.snapshot(snapshot_id), self._paths.trash)
        return doomed

    def drop_orphans(self) -> list[int]:
        """Move directories of snapshots that have no row to the trash; under the sweep lock.

        The row comes first when one is made, and goes first when one is deleted.
        """
        with translated(self._paths.snapshots):
            names = os.listdir(self._paths.snapshots)
        known = {row[0] for row in self._database.query("SELECT id FROM snapshots")}
        pinned = self._leases.live().snapshots
        orphans = [int(n) for n in names if n.isdigit() and int(n) not in known | pinned]
        for snapshot_id in orphans:
            trash.discard(self._paths.snapshot(snapshot_id), self._paths.trash)
        return orphans

    def _clean(self, lease: str) -> None:
        """Remove the temporary files and active snapshots of a dead process."""
        prefix = f"{lease}-"
        for directory in (self._paths.ingest, self._paths.tmp):
            with translated(directory):
                for name in os.listdir(directory):
                    if name.startswith(prefix):
                        trash.discard(f"{directory}/{name}", self._paths.trash)
        for row in self._database.query(
            "SELECT id FROM snapshots WHERE is_committed = 0 AND owner = ?", lease
        ):
            self._database.query("DELETE FROM snapshots WHERE id = ?", row[0])
            trash.discard(self._paths.snapshot(row[0]), self._paths.trash)

    def _after_power_cut(self) -> None:
        if os.path.exists(self._paths.database):
            if self._database.check() is not None:
                self._database.replace()
            lost = self._snapshots.unsynced()
            if lost:
                self.drop_snapshots(lost)
            with self._database.transaction():
                self._images.write_index()  # its last renaming may have been undone
        for digest in self._content.unsynced():
            if self._content.verify(digest):
                self._content.flush([digest])
            else:
                self._content.set_aside(digest)

    def _with_descendants(self, snapshot_id: int) -> list[int]:
        rows = self._database.query(
            "WITH RECURSIVE doomed (id) AS (SELECT ?1 UNION SELECT s.id FROM snapshots s"
            " JOIN doomed ON s.parent = doomed.id OR s.same_as = doomed.id"
            " WHERE s.is_committed = 1 OR s.owner NOT GLOB ?2)"
            " SELECT id FROM doomed",
            snapshot_id,
            f"{CONTAINER}*",
        )
        return [row[0] for row in rows]
