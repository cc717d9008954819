"""File-system states: committed ones that never change, and active ones that are being written.

A snapshot is a number, a directory below `snapshots/`, and a row that names its parent. Committing
copies nothing: the directory that was written stays where it is. How a directory becomes a tree is
the snapshotter's business (`overlay`, `copying`).

The mode of a snapshot's directory says how far it is: 0700 is active, 0740 committed, 0540 known to
be on disk. After a power cut those committed but not on disk are dropped, with all that stands on
them.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from stat import S_IMODE

from builder.errors import NotFound
from builder.store import atomic, kinship, trash
from builder.store.database import Database, Row
from builder.store.failure import translated
from builder.store.leases import Leases
from builder.store.paths import Paths
from builder.store.sizes import directory_size
from builder.store.snapshotter import Active, Snapshot, Snapshotter

_ACTIVE_MODE, _COMMITTED_MODE, _DURABLE_MODE = 0o700, 0o740, 0o540
_OWNER_FILE = "owner"
CONTAINER = "container:"
"""An owner reads `container:<id>`; it counts while `containers/<id>` exists."""


class Snapshots:
    """The snapshots of one state directory. All methods may be called from several threads."""

    def __init__(
        self,
        paths: Paths,
        database: Database,
        leases: Leases,
        snapshotter: Snapshotter,
        *,
        userxattr: bool = False,
    ) -> None:
        """Keep the collaborators."""
        self._paths = paths
        self._database = database
        self._leases = leases
        self._snapshotter = snapshotter
        self._known: dict[int, Snapshot] = {}
        self._open: dict[int, Active] = {}
        self.has_written = False
        self.userxattr = userxattr
        self.is_overlay = snapshotter.is_overlay

    def prepare(self, parent: Snapshot | int | None, *, owner: str = "") -> Active:
        """Begin a writable state on top of a parent.

        It dies with this process unless `owner` names something that lives on: `container:<id>`.
        """
        return self._prepare(parent, owner, is_diff=False)

    def prepare_diff(self, parent: Snapshot | int | None) -> Active:
        """Begin a state whose `upper` is filled directly, in overlay's format, by the caller."""
        return self._prepare(parent, "", is_diff=True)

    def commit(self, active: Active, *, name: str = "", is_patch: bool = False) -> Snapshot:
        """Declare an active state finished; nothing may write to it any more.

        `name` tells people what it is. A patch corrects its parent: one layer holds the changes of
        both. It is not durable yet, see Store.sync.
        """
        chain = self._chain_of(active.parent)
        directory = self._paths.snapshot(active.id)
        with translated(directory):
            self._snapshotter.seal(active, directory, chain)
            os.chmod(directory, _COMMITTED_MODE)
        self._database.query(
            "UPDATE snapshots SET is_committed = 1, owner = '', name = ?, last_used_s = ?,"
            " is_patch = ? WHERE id = ?",
            name, _now_s(), int(is_patch), active.id,
        )  # fmt: skip
        depth = len(chain) + 1
        diff = f"{directory}/diff"
        snapshot = Snapshot(active.id, active.parent, diff, depth, active.id, is_patch)
        self._known[active.id] = snapshot
        self._open.pop(active.id, None)
        self.has_written = True
        return snapshot

    def adopt(self, parent: Snapshot | None, donor: Snapshot) -> Snapshot:
        """Make a committed state on a parent, whose changes are a donor's: nothing is copied.

        The donor stays as long as it does. It must not be in the parent's stack.
        """
        now_s = _now_s()
        with self._leases.adding():
            snapshot_id = self._database.insert(
                "INSERT INTO snapshots (parent, depth, owner, created_s, last_used_s, same_as,"
                " is_committed, size_bytes) VALUES (?1, ?2, '', ?3, ?3, ?4, 1, 0)",
                parent and parent.id, (parent.depth if parent else 0) + 1, now_s, donor.origin,
            )  # fmt: skip
            self._leases.pin_snapshot(snapshot_id)
        directory = self._paths.snapshot(snapshot_id)
        with translated(directory):
            os.mkdir(directory, _COMMITTED_MODE)
            os.chmod(directory, _COMMITTED_MODE)  # whatever the umask
        self._known[snapshot_id] = self._snapshot(self._rows_of_chain(snapshot_id)[0])
        self.has_written = True
        return self._known[snapshot_id]

    def discard(self, active: Active) -> None:
        """Throw an active state away."""
        self._database.query("DELETE FROM snapshots WHERE id = ?", active.id)
        self._open.pop(active.id, None)
        trash.discard(self._paths.snapshot(active.id), self._paths.trash)

    def get(self, snapshot_id: int) -> Snapshot:
        """Look a committed state up; it and its ancestors stay while this store is open.

        Raises NotFound.
        """
        found = self.find(snapshot_id)
        if found is None:
            raise NotFound(f"snapshot {snapshot_id} is not in the store", fix="build again")
        return found

    def find(self, snapshot_id: int) -> Snapshot | None:
        """Look a committed state up and pin it; None if it is not (or no longer) there."""
        known = self._known.get(snapshot_id)
        if known is not None:
            return known
        with self._leases.adding():
            rows = self._rows_of_chain(snapshot_id)
            if not rows or not os.path.isdir(self._snapshot(rows[0]).diff):
                return None
            self._leases.pin_snapshot(snapshot_id)
        for row in rows:
            self._known[row[0]] = self._snapshot(row)
        return self._known[snapshot_id]

    def base(self, snapshot: Snapshot) -> Snapshot | None:
        """Look up what a state's layer is laid on; it is there as long as the state is."""
        below = snapshot.parent
        for part in self._own(snapshot)[1:]:
            below = part.parent
        return None if below is None else self.get(below)

    def chain(self, snapshot: Snapshot | None) -> tuple[Snapshot, ...]:
        """List the states whose layers a state consists of, itself the last."""
        stack = self.stack(snapshot)
        patched = {one.parent for one in stack if one.is_patch}
        return tuple(one for one in stack if one.id not in patched)

    def stack(self, snapshot: Snapshot | None) -> tuple[Snapshot, ...]:
        """List a state's ancestors and itself, the lowest first, those that are patched too."""
        return () if snapshot is None else self._chain_of(snapshot.id)

    def own_directories(self, snapshot: Snapshot) -> tuple[str, ...]:
        """List the directories of the changes in a state's own layer, top first."""
        return tuple(part.diff for part in self._own(snapshot))

    def share(self, active: Active, kin: kinship.Kin) -> None:
        """Note whose files an active state has got; see `kinship`."""
        kinship.note(self._paths.snapshot(active.id), kin)

    def kin(self, snapshot: Snapshot) -> kinship.Kin:
        """Tell whose files the changes in a state's own layer may be."""
        kin = frozenset((part.origin, "") for part in self._own(snapshot))
        return kin.union(*(kinship.kin_of(self._paths.snapshot(number)) for number, _ in kin))

    def lowers(self, snapshot: Snapshot | None) -> tuple[str, ...]:
        """List the directories of a state's tree, top first; none for no state."""
        return self._snapshotter.lowers(self.stack(snapshot))

    @contextmanager
    def viewed(self, snapshot: Snapshot | None) -> Iterator[int]:
        """Open a state's merged tree; the descriptor is closed at the end. Do not write to it."""
        with self._snapshotter.viewed(self.lowers(snapshot)) as fd:
            yield fd

    @contextmanager
    def changed(self, snapshot: Snapshot) -> Iterator[str]:
        """Give the path of a directory with the changes of a state's own layer."""
        directories = self.own_directories(snapshot)
        if len(directories) == 1:
            yield directories[0]
            return
        with self._snapshotter.viewed(directories) as fd:
            yield f"/proc/self/fd/{fd}"

    @contextmanager
    def mounted(self, active: Active) -> Iterator[int]:
        """Open an active state's merged tree for writing; not while a sandbox has it mounted."""
        with translated(active.upper), self._snapshotter.mounted(active) as fd:
            yield fd

    def active(self, owner: str) -> Active | None:
        """Find the active state of a container; its parent is None if that was lost."""
        row = self._database.one(
            "SELECT id, parent FROM snapshots WHERE owner = ? AND is_committed = 0", owner
        )
        if row is None:
            return None
        parent = None if row[1] is None else self.find(row[1])
        return self._snapshotter.active(row[0], self._paths.snapshot(row[0]), self.stack(parent))

    def rebase(self, active: Active, parent: Snapshot | None) -> Active:
        """Put an active state onto an equal parent, after its own was lost."""
        self._database.query(
            "UPDATE snapshots SET parent = ?, depth = ? WHERE id = ?",
            parent and parent.id, (parent.depth if parent else 0) + 1, active.id,
        )  # fmt: skip
        directory = self._paths.snapshot(active.id)
        return self._snapshotter.active(active.id, directory, self.stack(parent))

    def created_s(self, snapshot: Snapshot) -> int:
        """Say when a state was begun, in seconds of Unix time."""
        row = self._database.one("SELECT created_s FROM snapshots WHERE id = ?", snapshot.id)
        return 0 if row is None else int(row[0])

    def backdate(self, snapshot: Snapshot, created_s: int) -> None:
        """Say when a state was first made, if that was on another machine."""
        self._database.query(
            "UPDATE snapshots SET created_s = ? WHERE id = ?", created_s, snapshot.id
        )

    def usage(self, snapshot: Snapshot) -> int:
        """Count the bytes that a state's own changes take on disk; counted once and kept."""
        number = snapshot.origin
        row = self._database.one("SELECT size_bytes FROM snapshots WHERE id = ?", number)
        known = None if row is None else row[0]
        return self.measure(number) if known is None else int(known)

    def measure(self, snapshot_id: int) -> int:
        """Count the bytes of a state's own changes and keep the result; pins nothing."""
        size_bytes = directory_size(f"{self._paths.snapshot(snapshot_id)}/diff")
        self._database.query(
            "UPDATE snapshots SET size_bytes = ? WHERE id = ?", size_bytes, snapshot_id
        )
        return size_bytes

    def note_use(self) -> None:
        """Write down that all states which were looked up are being used now."""
        now_s = _now_s()
        self._database.query_many(
            "UPDATE snapshots SET last_used_s = max(last_used_s, ?) WHERE id = ?",
            [(now_s, snapshot_id) for snapshot_id in self._known],
        )

    def ensure_synced(self, snapshot: Snapshot) -> None:
        """Make a state and its ancestors durable, before something durable stands on them."""
        needed = {number for one in self.stack(snapshot) for number in (one.id, one.origin)}
        unsynced = [number for number in needed if self._is_unsynced(number)]
        if unsynced:
            atomic.syncfs(self._paths.snapshots)
            self.mark_durable(unsynced)

    def unsynced(self) -> list[int]:
        """List the committed states that are not known to be on disk; asks no rows."""
        with translated(self._paths.snapshots):
            names = os.listdir(self._paths.snapshots)
        return [int(name) for name in names if name.isdigit() and self._is_unsynced(int(name))]

    def mark_durable(self, ids: Sequence[int]) -> None:
        """Note that states are on disk: call it only after that is so."""
        for snapshot_id in ids:
            try:
                os.chmod(self._paths.snapshot(snapshot_id), _DURABLE_MODE)
            except FileNotFoundError:
                continue

    def forget(self, ids: Sequence[int]) -> None:
        """Drop what is remembered of deleted states."""
        for snapshot_id in ids:
            self._known.pop(snapshot_id, None)

    def discard_open(self) -> None:
        """Throw away what this process began and did not commit."""
        for active in tuple(self._open.values()):
            self.discard(active)

    def readopt(self, pinned: set[int]) -> None:
        """Fill an empty table from the directories: what this process knows and containers own.

        The directories of others that nobody has pinned go to the trash. Numbers go on from the
        highest one seen.
        """
        with translated(self._paths.snapshots):
            ids = sorted(int(name) for name in os.listdir(self._paths.snapshots) if name.isdigit())
        for snapshot_id in ids:
            known = self._known.get(snapshot_id) or self._open.get(snapshot_id)
            owner = self._owner(snapshot_id)
            if known is not None or owner:
                self._insert_again(snapshot_id, known, owner)
            elif snapshot_id not in pinned:
                trash.discard(self._paths.snapshot(snapshot_id), self._paths.trash)
        if ids:
            self._database.query("DELETE FROM sqlite_sequence WHERE name = 'snapshots'")
            self._database.query("INSERT INTO sqlite_sequence VALUES ('snapshots', ?)", ids[-1])

    def _insert_again(self, snapshot_id: int, known: Snapshot | Active | None, owner: str) -> None:
        is_committed = isinstance(known, Snapshot)
        self._database.query(
            "INSERT INTO snapshots (id, parent, depth, is_committed, owner, created_s, last_used_s,"
            " is_patch, same_as) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)",
            snapshot_id,
            None if known is None else known.parent,
            known.depth if isinstance(known, Snapshot) else 1,
            int(is_committed),
            owner if owner or is_committed else self._leases.name,
            _now_s(),
            int(isinstance(known, Snapshot) and known.is_patch),
            known.origin if isinstance(known, Snapshot) and known.origin != known.id else None,
        )

    def _owner(self, snapshot_id: int) -> str:
        """Read whose active state a directory is; empty unless that container exists."""
        path = f"{self._paths.snapshot(snapshot_id)}/{_OWNER_FILE}"
        owner = (atomic.read(path, 256) or b"").decode("ascii", "replace")
        name = owner.removeprefix(CONTAINER)
        is_alive = name != owner and os.path.isdir(f"{self._paths.containers}/{name}")
        return owner if is_alive else ""

    def _prepare(self, parent: Snapshot | int | None, owner: str, *, is_diff: bool) -> Active:
        chain = self._chain_of(parent.id if isinstance(parent, Snapshot) else parent)
        now_s = _now_s()
        snapshot_id = self._database.insert(
            "INSERT INTO snapshots (parent, depth, owner, created_s, last_used_s)"
            " VALUES (?, ?, ?, ?, ?)",
            chain[-1].id if chain else None,
            len(chain) + 1,
            owner or self._leases.name,
            now_s,
            now_s,
        )
        self._leases.pin_snapshot(snapshot_id)
        directory = self._paths.snapshot(snapshot_id)
        with translated(directory):
            os.mkdir(directory, _ACTIVE_MODE)
            if owner:
                atomic.write(f"{directory}/{_OWNER_FILE}", owner.encode())
            self._snapshotter.make(directory, chain, is_diff=is_diff)
        active = self._snapshotter.active(snapshot_id, directory, chain)
        if not owner:
            self._open[snapshot_id] = active
        return active

    def _chain_of(self, snapshot_id: int | None) -> tuple[Snapshot, ...]:
        chain: list[Snapshot] = []
        while snapshot_id is not None:
            snapshot = self._known.get(snapshot_id) or self.get(snapshot_id)
            chain.append(snapshot)
            snapshot_id = snapshot.parent
        chain.reverse()
        return tuple(chain)

    def _rows_of_chain(self, snapshot_id: int) -> list[Row]:
        return self._database.query(
            "WITH RECURSIVE chain (id, parent) AS ("
            " SELECT id, parent FROM snapshots WHERE id = ? AND is_committed = 1"
            " UNION ALL SELECT s.id, s.parent FROM snapshots s"
            " JOIN chain ON s.id = chain.parent WHERE s.is_committed = 1)"
            " SELECT id, snapshots.parent, depth, is_patch, same_as"
            " FROM snapshots JOIN chain USING (id)"
            " ORDER BY depth DESC",
            snapshot_id,
        )

    def _snapshot(self, row: Row) -> Snapshot:
        number, parent, depth, is_patch, same_as = row
        origin = same_as or number
        diff = f"{self._paths.snapshot(origin)}/diff"
        return Snapshot(number, parent, diff, depth, origin, bool(is_patch))

    def _own(self, snapshot: Snapshot) -> tuple[Snapshot, ...]:
        """List the states of one layer: a state, and what it patches, top first."""
        parts = [snapshot]
        while parts[-1].is_patch and parts[-1].parent is not None:
            parts.append(self.get(parts[-1].parent))
        return tuple(parts)

    def _is_unsynced(self, snapshot_id: int) -> bool:
        try:
            mode = os.stat(self._paths.snapshot(snapshot_id)).st_mode
            return S_IMODE(mode) == _COMMITTED_MODE
        except FileNotFoundError:
            return False


def _now_s() -> int:
    return int(time.time())
