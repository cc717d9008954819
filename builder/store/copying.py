"""The snapshotter without overlayfs: each state is a whole tree, and its changes are found after.

An active state is a full copy of its parent. When it is committed, the copy is compared with the
parent, and what differs gets a second name (a hard link) in `diff`, in overlay's format; so layers
are written as from an overlay. It is slow, and works on any kernel and file system.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from builder.store import comparing, merging, replicate
from builder.store.paths import Paths
from builder.store.snapshotter import Active, Snapshot


class CopyingSnapshotter:
    """Implements Snapshotter with copies: `tree` is the whole, `diff` the changes."""

    is_overlay = False

    def __init__(self, paths: Paths, *, userxattr: bool) -> None:
        """Keep where directories are, and how whiteouts are marked in `diff`."""
        self._paths = paths
        self._userxattr = userxattr

    def make(self, directory: str, chain: Sequence[Snapshot], *, is_diff: bool) -> None:
        """Copy the parent's tree, or make an empty `diff`."""
        if is_diff:
            _make_directory(f"{directory}/diff")
            return
        _make_directory(f"{directory}/tree")
        if chain:
            replicate.replicate(_tree(chain[-1]), f"{directory}/tree")

    def active(self, snapshot_id: int, directory: str, chain: Sequence[Snapshot]) -> Active:
        """Describe the copy, or the directory of changes."""
        parent = chain[-1].id if chain else None
        tree = f"{directory}/tree"
        upper = tree if os.path.isdir(tree) else f"{directory}/diff"
        return Active(snapshot_id, parent, upper, "", ())

    def seal(self, active: Active, directory: str, chain: Sequence[Snapshot]) -> None:
        """Make what is missing: `diff` by comparison, or `tree` by laying `diff` over it."""
        below = self.lowers(chain)
        tree, diff = f"{directory}/tree", f"{directory}/diff"
        if active.upper == tree:
            _make_directory(diff)
            parent = below[0] if below else self._paths.empty
            comparing.compare(parent, tree, diff, userxattr=self._userxattr)
            return
        _make_directory(tree)
        for part in (*below, diff):
            merging.merge(part, tree, userxattr=self._userxattr)

    def lowers(self, chain: Sequence[Snapshot]) -> tuple[str, ...]:
        """Name the only directory that there is."""
        return (_tree(chain[-1]),) if chain else ()

    @contextmanager
    def viewed(self, lowers: Sequence[str]) -> Iterator[int]:
        """Open the tree."""
        with _opened(lowers[0] if lowers else self._paths.empty) as fd:
            yield fd

    @contextmanager
    def mounted(self, active: Active) -> Iterator[int]:
        """Open the copy."""
        with _opened(active.upper) as fd:
            yield fd


def _tree(snapshot: Snapshot) -> str:
    return f"{os.path.dirname(snapshot.diff)}/tree"


def _make_directory(path: str) -> None:
    os.mkdir(path, 0o755)
    os.chmod(path, 0o755)  # noqa: S103 - the root of an image, whatever the umask


@contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
