"""A COPY of a directory of which the same step has made a layer before, over the same base.

The new snapshot stands on the earlier one and corrects it: only the files that differ are written.
Both together are one layer. After some such corrections a whole copy begins anew.
"""

from collections.abc import Sequence

from builder.executors.bench import Bench
from builder.executors.kept import Kept, keep
from builder.executors.sources import opened_source
from builder.graph.ops import Copy, Files
from builder.graph.vertex import Vertex, has_wildcards
from builder.layers.checksum import Checksums
from builder.layers.copy import copy_metadata
from builder.layers.made import Made
from builder.layers.patch import Patch
from builder.solver.protocols import Result
from builder.store.snapshotter import Snapshot
from builder.values import NamedTuple

_MAX = 16


def execute(
    vertex: Vertex, op: Files, action: Copy, inputs: Sequence[Result], bench: Bench
) -> int | None:
    """Make the result of a step that is one copy from its earlier one; None if that cannot be."""
    given = inputs[action.input]
    if given.context is None or inputs[0].snapshot is None:
        return None
    if action.parents or has_wildcards(action.source):
        return None
    if not bench.store.snapshots.is_overlay:  # else files of the earlier tree would be in this one
        return None
    with opened_source(bench, given) as source:
        kept = Kept.of(op, given.context, source, bench)
        base = bench.store.snapshots.get(inputs[0].snapshot)
        if kept.snapshot is None or not _is_on(kept.snapshot, base, bench):
            return None
        return _Step(vertex, action, source, kept, base, bench).patched(kept.snapshot)


def _is_on(earlier: Snapshot, base: Snapshot, bench: Bench) -> bool:
    """Whether a state was made on a base, with room for one more patch above it."""
    snapshots = bench.store.snapshots
    return snapshots.base(earlier) == base and len(snapshots.own_directories(earlier)) <= _MAX


class _Step(NamedTuple):
    """One copy, and what it may begin with."""

    vertex: Vertex
    action: Copy
    source: Checksums
    kept: Kept
    base: Snapshot
    bench: Bench

    def patched(self, earlier: Snapshot) -> int | None:
        """Make a patch of the earlier state; None, and nothing left, if it cannot be one."""
        snapshots = self.bench.store.snapshots
        active = snapshots.prepare(earlier)
        try:
            with snapshots.mounted(active) as root_fd:
                made = self._made(root_fd)
            if made is not None:
                keep(self.kept.name, made, self.kept.place, active, self.bench)
                return snapshots.commit(active, is_patch=True).id
        except BaseException:
            snapshots.discard(active)
            raise
        snapshots.discard(active)
        return None

    def _made(self, root_fd: int) -> Made | None:
        metadata, warning = copy_metadata(self.action, root_fd)
        patch = Patch(
            self.action,
            self.source,
            root_fd,
            metadata=metadata,
            can_mknod=self.bench.privileges.is_root,
            place=self.kept.place,
            earlier=self.kept.made,
        )
        if not patch.apply(self.bench.store.snapshots.lowers(self.base)):
            return None
        if warning:
            self.bench.warn(warning, self.vertex.span)
        return patch.made
