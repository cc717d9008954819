"""What a COPY of a directory need not copy: files that an earlier snapshot has just like that.

A copy from a client's directory leaves beside its snapshot what it made of which content; the same
step links from there the next time. A copy from a stage links the stage's own files.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from builder.executors.bench import Bench
from builder.graph.ops import Copy, Files
from builder.graph.vertex import operation_key
from builder.layers.checksum import Checksums
from builder.layers.reuse import Earlier, Lowers, Made, Reuse
from builder.oci.digest import key
from builder.solver.protocols import Result
from builder.store.kinship import are_related
from builder.store.snapshotter import Active

_MADE_FILE = "made"
_FEW_FILES = 100


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
    name = _key(op, result.context, tree)
    earlier = _earlier(name, tree, bench)
    try:
        yield earlier
        if earlier.snapshot is not None or len(earlier.made.files) > _FEW_FILES:
            _keep(name, earlier, active, bench)
    finally:
        earlier.close()


@contextmanager
def _stage(op: Files, result: Result, active: Active, bench: Bench) -> Iterator[Lowers | None]:
    """Lend the layers of a stage, but for those whose files the new tree shows already."""
    snapshots = bench.store.snapshots
    base = None if result.snapshot is None else snapshots.get(result.snapshot)
    parent = None if active.parent is None else snapshots.get(active.parent)
    chain = snapshots.chain(base)[::-1]
    action = op.actions[-1]
    is_flat = len(snapshots.lowers(base)) != len(chain)
    if bench.privileges.userxattr or is_flat or not isinstance(action, Copy):
        yield None
        return
    shown = frozenset().union(*(snapshots.kin(one) for one in snapshots.chain(parent)))
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


def _earlier(name: bytes, tree: Checksums, bench: Bench) -> Earlier:
    """Find what the same step made the last time, if that is still there."""
    known = bench.store.records.memo(name)
    if known is None:
        return Earlier(tree, None, Made())
    number, _, path = os.fsdecode(known).partition(" ")
    snapshot = bench.store.snapshots.find(int(number))
    if snapshot is None:
        return Earlier(tree, None, Made())
    try:
        with open(f"{os.path.dirname(snapshot.diff)}/{_MADE_FILE}", "rb") as stream:
            made = Made(stream.read())
    except OSError:
        return Earlier(tree, None, Made())
    return Earlier(tree, f"{snapshot.diff}/{path}", made, snapshot.id)


def _keep(name: bytes, earlier: Earlier, active: Active, bench: Bench) -> None:
    with open(f"{os.path.dirname(active.upper)}/{_MADE_FILE}", "xb") as stream:
        stream.write(earlier.made.packed())
    snapshots = bench.store.snapshots
    donor = None if earlier.snapshot is None else snapshots.find(earlier.snapshot)
    if donor is not None:
        itself = frozenset({(donor.id, "")})
        snapshots.share(active, snapshots.kin(donor) - itself or itself)  # one family, one name
    bench.store.records.remember(name, os.fsencode(f"{active.id} {earlier.top}"))


def _key(op: Files, context: str, tree: Checksums) -> bytes:
    status = tree.tree.root.status
    name = key("made/1", operation_key(op), context, f"{status.st_dev} {status.st_ino}")
    return name.encode()
