"""The store as a whole: opened, swept of what dead processes left, made durable, closed.

Opening costs a few system calls; SQLite is opened by the first question. Files of dead processes
are found by their leases, and after a power cut (the boot ID differs) everything that was not known
to be on disk is checked or dropped before anything trusts it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, Self

from builder.concurrency import CancelToken
from builder.store import atomic, trash
from builder.store.cache_mounts import CacheMounts
from builder.store.content import Content
from builder.store.database import Database
from builder.store.detached import run_detached
from builder.store.failure import translated
from builder.store.images import Images
from builder.store.layers import Layers
from builder.store.leases import Leases
from builder.store.lists import Lists
from builder.store.locks import Locks
from builder.store.overlay import OverlaySnapshotter
from builder.store.paths import Paths, open_root
from builder.store.pins import Pins
from builder.store.records import Records
from builder.store.recovery import Recovery
from builder.store.selection import SnapshotterName, snapshotter_of
from builder.store.snapshots import Snapshots
from builder.store.snapshotter import Snapshotter

if TYPE_CHECKING:
    from builder.kernel.namespaces import Privileges

_counter = count()
Later = Callable[[Callable[[], None]], None]
"""Does some work when nobody waits for it, in another process."""


def ignore(_warning: str) -> None:
    """Listen to no warnings."""


class Store:
    """One state directory; a context manager. Any number of processes may have it open."""

    def __init__(
        self, paths: Paths, *, userxattr: bool, warn: Callable[[str], None], is_copying: bool
    ) -> None:
        """Put the parts together; use Store.open."""
        self.paths = paths
        self.root = paths.root
        self.warn = warn
        self.can_mknod = True
        self.locks = Locks(paths.lock)
        self.leases = Leases(paths, self.locks)
        self.database = Database(paths.database, self.locks, warn=warn, restore=self._restore)
        self.content = Content(paths, self.leases)
        snapshotter: Snapshotter
        if is_copying:
            from builder.store.copying import CopyingSnapshotter  # rarely needed

            snapshotter = CopyingSnapshotter(paths, userxattr=userxattr)
        else:
            snapshotter = OverlaySnapshotter(paths, self.locks, userxattr=userxattr)
        self.snapshots = Snapshots(
            paths, self.database, self.leases, snapshotter, userxattr=userxattr
        )
        self.pins = Pins(paths, self.database)
        self.lists = Lists(paths)
        self.layers = Layers(self.database, self.content, self.snapshots, self.locks)
        self.images = Images(paths, self.database, self.content, self.leases, self.pins)
        self.records = Records(self.database, self.snapshots, self.locks)
        self.cache_mounts = CacheMounts(paths, self.database, self.locks)
        self.recovery = Recovery(
            paths, self.leases, self.database, content=self.content, snapshots=self.snapshots,
            images=self.images, warn=warn,
        )  # fmt: skip
        self._temporaries: list[str] = []

    @classmethod
    def open(
        cls,
        root: str,
        privileges: "Privileges | None" = None,
        *,
        warn: Callable[[str], None] = ignore,
        snapshotter: SnapshotterName | None = None,
    ) -> Self:
        """Open a state directory, making it if need be; raises StoreError.

        A new one gets the snapshotter that is asked for, or the best that works here, for good.
        """
        paths = open_root(root)
        userxattr = privileges is not None and privileges.userxattr
        kind = snapshotter_of(paths, snapshotter, userxattr=userxattr, warn=warn)
        store = cls(paths, userxattr=userxattr, warn=warn, is_copying=kind == "copying")
        store.can_mknod = privileges is None or privileges.is_root
        store.recovery.sweep()
        return store

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close the store."""
        self.close()

    def path(self, *names: str) -> str:
        """Name a place below the state directory; the names must not come from users."""
        return "/".join((self.root, *names))

    def temporary(self, suffix: str = "") -> str:
        """Make a directory that vanishes when the store is closed, or when this process dies."""
        path = f"{self.paths.tmp}/{self.leases.name}-{next(_counter)}{suffix}"
        with translated(path):
            os.mkdir(path, 0o700)
        self._temporaries.append(path)
        return path

    def discard(self, path: str) -> None:
        """Move a file or tree of the store into the trash."""
        trash.discard(path, self.paths.trash)

    @contextlib.contextmanager
    def key_lock(self, name: str, token: CancelToken | None = None) -> Iterator[None]:
        """Hold a lock of any name over threads and processes; see Locks.held."""
        with self.locks.held(name, token=token):
            yield

    def sync(self) -> None:
        """Make everything durable, and note that it is."""
        blobs, snapshots = self.content.unsynced(), self.snapshots.unsynced()
        if blobs or snapshots:
            atomic.syncfs(self.root)
            self.content.mark_durable(blobs)
            self.snapshots.mark_durable(snapshots)

    def sync_later(
        self, then: Callable[[], None] | None = None, *, later: Later = run_detached
    ) -> None:
        """Close the store; make everything durable and tidy up in a process of its own.

        Call it last and without threads. The child holds none of the caller's descriptors and
        outlives it; `then` runs at its end, and must not use SQLite, which would find the state of
        the abandoned connection.
        """
        has_work = self.content.has_written or self.snapshots.has_written
        self._end()
        if has_work or then is not None or not trash.is_empty(self.paths.trash):
            self.database.forget()  # closing it checkpoints, for 15 ms; the process ends instead
            later(lambda: self._sync_and_tidy(then))
        else:
            self.database.close()

    def empty_trash(self, *, is_gentle: bool = False) -> None:
        """Remove what was discarded; may take long. See trash.empty."""
        with self.locks.tried("trash") as is_held:
            if is_held:
                trash.empty(self.paths.trash, is_gentle=is_gentle)

    def close(self) -> None:
        """Write what is pending, remove what is temporary, and end the lease."""
        self._end()
        self.database.close()

    def _end(self) -> None:
        self.records.flush()
        self.snapshots.discard_open()
        for path in self._temporaries:
            self.discard(path)
        self._temporaries.clear()
        self.leases.close()

    def forget(self) -> None:
        """Let go of locks and descriptors without touching the parent's: for a forked child."""
        self.leases.forget()
        self.database.forget()

    def _restore(self) -> None:
        self.recovery.restore()

    def _sync_and_tidy(self, then: Callable[[], None] | None) -> None:
        self.sync()
        self.empty_trash(is_gentle=True)
        if then is not None:
            then()
