"""Which snapshotter a store has: chosen once, when it is made, and written down."""

from collections.abc import Callable
from typing import Literal, cast

from builder.errors import KernelError, StoreError
from builder.kernel.mounts import mounted_overlay
from builder.store import atomic
from builder.store.paths import Paths

SnapshotterName = Literal["overlay", "copying"]
_NAMES = ("overlay", "copying")


def snapshotter_of(
    paths: Paths,
    wanted: SnapshotterName | None,
    *,
    userxattr: bool,
    warn: Callable[[str], None],
) -> SnapshotterName:
    """Give the store's snapshotter, choosing it if this is the first time.

    Raises StoreError if another one is wanted: their directories differ.
    """
    chosen = _chosen(paths)
    if chosen is None:
        best = wanted or _best(paths, userxattr=userxattr, warn=warn)
        atomic.create(paths.snapshotter, best.encode())
        chosen = _chosen(paths) or best
    if wanted not in {None, chosen}:
        raise StoreError(
            f"{paths.root} was made with the {chosen} snapshotter",
            fix=f"leave it at {chosen}, or choose another --root",
        )
    return chosen


def _chosen(paths: Paths) -> SnapshotterName | None:
    content = atomic.read(paths.snapshotter, 32)
    if content is None:
        return None
    name = content.decode("ascii", "replace")
    if name not in _NAMES:
        raise StoreError(
            f"{paths.root} was made with the snapshotter {name!r}, which is not known here",
            fix="use the newer builder, or another --root",
        )
    return cast("SnapshotterName", name)


def _best(paths: Paths, *, userxattr: bool, warn: Callable[[str], None]) -> SnapshotterName:
    try:
        with mounted_overlay((paths.empty, paths.tmp), userxattr=userxattr):
            return "overlay"
    except KernelError as error:
        warn(f"overlayfs cannot be used here ({error}): every step copies its whole tree")
        return "copying"
