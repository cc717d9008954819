"""Open what a step reads: a client directory as it is, a snapshot through a merged view."""

from collections.abc import Iterator
from contextlib import contextmanager

from builder.executors.bench import Bench
from builder.ignore import IgnoreMatcher
from builder.layers.checksum import RootTree
from builder.layers.context import ContextTree
from builder.solver.protocols import Result


@contextmanager
def opened_source(bench: Bench, result: Result) -> Iterator[ContextTree | RootTree]:
    """Lend the tree of a result for hashing or copying; client directories one user at a time."""
    if result.context is not None:
        context = bench.context(result.context)
        with context.lock:
            yield context.tree
        return
    snapshots = bench.store.snapshots
    snapshot = None if result.snapshot is None else snapshots.get(result.snapshot)
    with snapshots.viewed(snapshot) as root_fd:
        userxattr = bench.privileges.userxattr
        yield RootTree(root_fd, compile_patterns=IgnoreMatcher, userxattr=userxattr)
