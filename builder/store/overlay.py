"""The snapshotter for overlayfs: what a step writes is its snapshot, and nothing is ever copied.

A chain deeper than `MAX_LOWERS` is flattened now and then: below that state, one tree of hard
links takes the place of the many directories. (The kernel stops at 500, and every lower costs.)
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from stat import S_IMODE

from builder.kernel import mounts
from builder.store import merging, trash
from builder.store.locks import Locks
from builder.store.paths import Paths
from builder.store.snapshotter import Active, Snapshot

MAX_LOWERS = 128


class OverlaySnapshotter:
    """Implements Snapshotter with overlay mounts."""

    is_overlay = True

    def __init__(self, paths: Paths, locks: Locks, *, userxattr: bool) -> None:
        """Keep where directories are, and the mount option of a user namespace."""
        self._paths = paths
        self._locks = locks
        self._userxattr = userxattr

    def make(self, directory: str, chain: Sequence[Snapshot], *, is_diff: bool) -> None:
        """Make `diff` and `work`; the tree's root takes mode and owner from the parent's."""
        del is_diff
        upper = f"{directory}/diff"
        os.mkdir(upper, 0o755)
        os.mkdir(f"{directory}/work", 0o700)
        if not chain:
            os.chmod(upper, 0o755)  # noqa: S103 - the root of an image, whatever the umask
            return
        status = os.stat(chain[-1].diff)
        os.chmod(upper, S_IMODE(status.st_mode))
        if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(upper, status.st_uid, status.st_gid)

    def active(self, snapshot_id: int, directory: str, chain: Sequence[Snapshot]) -> Active:
        """Describe the overlay of a laid-out directory."""
        parent = chain[-1].id if chain else None
        upper, work = f"{directory}/diff", f"{directory}/work"
        return Active(snapshot_id, parent, upper, work, self.lowers(chain))

    def seal(self, active: Active, directory: str, chain: Sequence[Snapshot]) -> None:
        """Drop the work directory."""
        del directory, chain
        trash.discard(active.work, self._paths.trash)

    def lowers(self, chain: Sequence[Snapshot]) -> tuple[str, ...]:
        """List the chain's directories down to the highest flattened one."""
        found: list[str] = []
        for snapshot in reversed(chain):
            if snapshot.depth % MAX_LOWERS == 0:
                found.append(self._flattened(snapshot, chain))
                break
            found.append(snapshot.diff)
        return tuple(found)

    @contextmanager
    def viewed(self, lowers: Sequence[str]) -> Iterator[int]:
        """Mount the lowers, or open the only one."""
        stack = tuple(lowers) or (self._paths.empty,)
        with mounts.mounted_overlay(stack, userxattr=self._userxattr) as fd:
            yield fd

    @contextmanager
    def mounted(self, active: Active) -> Iterator[int]:
        """Mount an active snapshot, volatile: an ordinary unmount would sync the whole disk."""
        try:
            with mounts.mounted_overlay(
                active.lowers, active.upper, active.work, userxattr=self._userxattr,
                is_volatile=True,
            ) as fd:  # fmt: skip
                yield fd
        finally:
            make_mountable(active)

    def _flattened(self, snapshot: Snapshot, chain: Sequence[Snapshot]) -> str:
        """Name the tree of hard links of a state; make it when first needed."""
        directory = self._paths.snapshot(snapshot.id)
        flat = f"{directory}/flat"
        if os.path.isdir(flat):
            return flat
        below = [s for s in chain if s.depth < snapshot.depth]
        parts = (snapshot.diff, *self.lowers(below))
        with self._locks.held(f"flat {snapshot.id}"):
            if not os.path.isdir(flat):
                beginning = f"{directory}/flat.new"
                trash.discard(beginning, self._paths.trash)
                os.mkdir(beginning, 0o755)
                for part in reversed(parts):
                    merging.merge(part, beginning, userxattr=self._userxattr)
                os.rename(beginning, flat)
        return flat


def make_mountable(active: Active) -> None:
    """Remove the mark of an ended volatile mount, which would refuse the next one.

    Spec: Linux, Documentation/filesystems/overlayfs.rst, "Volatile mount".
    """
    incompat = f"{active.work}/work/incompat"
    try:
        os.unlink(f"{incompat}/volatile/dirty")
        os.rmdir(f"{incompat}/volatile")
        os.rmdir(incompat)
    except FileNotFoundError:
        return
