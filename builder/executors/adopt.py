"""A COPY of a whole directory from a stage to the same place, where one layer holds just that.

Nothing is copied: the new snapshot stands on its base with the stage's layer as its own. All that
take it for theirs have one blob, which holds that directory alone.
"""

import os
from collections.abc import Sequence
from posixpath import normpath

from builder.executors.bench import MOUNT_POINTS, Bench
from builder.executors.traces import is_trace, look, opened
from builder.graph.ops import Copy
from builder.graph.vertex import has_wildcards
from builder.kernel.trees import Cursor
from builder.layers.names import is_in
from builder.solver.protocols import Result
from builder.store.snapshots import Snapshots
from builder.store.snapshotter import Snapshot

_ROOT = (0o755, 0, 0, False)
"""The look, but for the time, of a directory that a build makes."""


def execute(action: Copy, inputs: Sequence[Result], bench: Bench) -> int | None:
    """Make the result of a step that is this copy alone, and copy nothing; None if that fails."""
    if not _is_whole(action):
        return None
    given, snapshots = inputs[action.input], bench.store.snapshots
    name = normpath(action.source).strip("/")
    if given.snapshot is None or not snapshots.is_overlay or not name or "/" in name:
        return None
    if normpath(action.dest) != f"/{name}":
        return None
    base = None if inputs[0].snapshot is None else snapshots.get(inputs[0].snapshot)
    holders = [
        one for one in snapshots.stack(snapshots.get(given.snapshot)) if is_in(one.diff, name)
    ]
    if len(holders) != 1 or not _can_stand(holders[0], base, name, snapshots):
        return None
    return snapshots.adopt(base, holders[0]).id


def _is_whole(action: Copy) -> bool:
    """Whether a copy takes files as they are."""
    is_plain = not has_wildcards(action.source) and not action.exclude and not action.parents
    return is_plain and action.owner is None and not action.chmod


def _can_stand(donor: Snapshot, base: Snapshot | None, name: str, snapshots: Snapshots) -> bool:
    """Whether a layer means over the base what a copy of its only directory would."""
    below = snapshots.stack(base)[::-1]
    lowers = [one.diff for one in below]
    if donor.is_patch or donor.origin in {one.origin for one in below}:
        return False
    if any(is_in(lower, name) for lower in lowers):
        return False
    with opened(donor.diff) as root_fd:
        if look(root_fd)[:-1] != _root_of(base):
            return False
        others = [other for other in os.listdir(root_fd) if other != name]
        return all(
            is_trace(root_fd, other, lowers, is_timeless=other in MOUNT_POINTS) for other in others
        ) and _is_copyable(root_fd, name)


def _is_copyable(root_fd: int, name: str) -> bool:
    """Whether a directory looks as a copy of it would."""
    try:
        with opened(name, root_fd) as fd:
            return look(fd)[:-1] == _ROOT and _is_ordinary(fd)
    except OSError:  # no directory
        return False


def _root_of(base: Snapshot | None) -> tuple[object, ...]:
    if base is None:
        return _ROOT
    with opened(base.diff) as fd:
        return look(fd)[:-1]


def _is_ordinary(top_fd: int) -> bool:
    """Whether there are only files, links and directories: the rest may not be copied as it is."""
    with Cursor(top_fd) as cursor:
        pending = [_directories(cursor.fd)]
        while pending:
            names = pending[-1]
            if names is None:
                return False
            if not names:
                pending.pop()
                if pending:
                    cursor.leave()
            elif cursor.enter(names.pop()):
                pending.append(_directories(cursor.fd))
    return True


def _directories(fd: int) -> list[str] | None:
    """List the subdirectories of a directory; None if something extraordinary is there."""
    found = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found.append(entry.name)
            elif not (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                return None
    return found
