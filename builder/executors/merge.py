"""Merge: put a layer that was built on nothing over another root, without copying its data.

Regular files become hard links to those of the independent layer: both are immutable once they are
committed, and overlayfs breaks a link before it writes.
"""

import os
import stat
from collections.abc import Sequence

from builder.executors.bench import Bench
from builder.kernel.xattr import get_all, set_all
from builder.solver.protocols import Result


def execute(inputs: Sequence[Result], bench: Bench) -> int | None:
    """Return a snapshot with the layer of input 1 over the root of input 0."""
    snapshots = bench.store.snapshots
    if inputs[1].snapshot is None:
        return inputs[0].snapshot
    layer = snapshots.get(inputs[1].snapshot)
    if inputs[0].snapshot is None:
        return layer.id
    active = snapshots.prepare_diff(inputs[0].snapshot)
    try:
        _link_tree(layer.diff, active.upper)
        snapshots.share(active, snapshots.kin(layer))
        return snapshots.commit(active).id
    except BaseException:
        snapshots.discard(active)
        raise


def _link_tree(source: str, target: str) -> None:
    """Recreate directories and hard-link the rest; both roots are ours and at rest."""
    pending = [(source, target)]
    made = []
    while pending:
        old, new = pending.pop()
        made.append((old, new))
        with os.scandir(old) as entries:
            for entry in entries:
                copy = f"{new}/{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    os.mkdir(copy)
                    pending.append((entry.path, copy))
                else:
                    os.link(entry.path, copy, follow_symlinks=False)
    for old, new in reversed(made):
        _copy_attributes(old, new)


def _copy_attributes(old: str, new: str) -> None:
    status = os.lstat(old)
    os.chown(new, status.st_uid, status.st_gid)
    os.chmod(new, stat.S_IMODE(status.st_mode))
    set_all(new, get_all(old))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
