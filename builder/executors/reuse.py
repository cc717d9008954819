"""What a COPY of a directory need not copy: files that an earlier snapshot has just like that.

A copy from a client's directory leaves beside its snapshot what it made of which content; the same
step links from there the next time. A copy from a stage links the stage's own files.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from builder.executors.bench import Bench
from builder.executors.kept import Kept, keep
from builder.graph.ops import Copy, Files
from builder.layers.checksum import Checksums
from builder.layers.reuse import Earlier, Lowers, Reuse
from builder.solver.protocols import Result
from builder.store.kinship import are_related
from builder.store.snapshotter import Active, Snapshot


@contextmanager
def shortcuts(
    op: Files,
    source: tuple[Result, Checksums],
    active: Active,
    bench: Bench,
    *,
    is_last: bool,
) -> Iterator[Reuse | None]:
    """Lend what a copy may link from, and keep for the next time what it did; None to be careful.

    That is so for all but the last action of a step, which may write past the mount, and where the
    tree is no overlay (it has no work directory): then its files must not be shared.
    """
    if not is_last or not active.work:
        yield None
        return
    result, tree = source
    if result.context is None:
        with _stage(op, result, active, bench) as lowers:
            yield lowers
        return
    kept = Kept.of(op, result.context, tree, bench)
    earlier = Earlier(tree, _tops(kept, bench), kept.made)
    try:
        yield earlier
        keep(kept.name, earlier.made, earlier.top, active, bench)
        if kept.snapshot is not None:
            _share(kept.snapshot, active, bench)
    finally:
        earlier.close()


@contextmanager
def _stage(op: Files, result: Result, active: Active, bench: Bench) -> Iterator[Lowers | None]:
    """Lend the layers of a stage, but for those whose files the new tree shows already."""
    snapshots = bench.store.snapshots
    base = None if result.snapshot is None else snapshots.get(result.snapshot)
    parent = None if active.parent is None else snapshots.get(active.parent)
    chain = snapshots.stack(base)[::-1]
    action = op.actions[-1]
    is_flat = len(snapshots.lowers(base)) != len(chain)
    if bench.privileges.userxattr or is_flat or not isinstance(action, Copy):
        yield None
        return
    shown = frozenset().union(*(snapshots.kin(one) for one in snapshots.stack(parent)))
    source = action.source.strip("/")
    kins = [
        {(one.id, source), *(pair for pair in snapshots.kin(one) if pair[0] != one.id)}
        for one in chain
    ]
    layers = [(one.diff, not are_related(kin, shown)) for one, kin in zip(chain, kins, strict=True)]
    lowers = Lowers(layers)
    try:
        yield lowers
        used = [kins[position] for position in lowers.used]
        snapshots.share(active, frozenset().union(*used))
    finally:
        lowers.close()


def _tops(kept: Kept, bench: Bench) -> tuple[str, ...]:
    if kept.snapshot is None:
        return ()
    directories = bench.store.snapshots.own_directories(kept.snapshot)
    return tuple(f"{directory}/{kept.place}" for directory in directories)


def _share(donor: Snapshot, active: Active, bench: Bench) -> None:
    """Name one family: what links from a snapshot that links from another has that one's files."""
    snapshots = bench.store.snapshots
    itself = frozenset({(donor.id, "")})
    snapshots.share(active, snapshots.kin(donor) - itself or itself)
