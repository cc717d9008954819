"""What a container changed: `diff`, and the layer of `commit`.

Mount points and the files that we mount over are not the container's doing and left out.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from builder.containers.creation import Workplace, owner_of
from builder.containers.model import Container
from builder.containers.quick import layer_of
from builder.errors import KernelError, StoreError
from builder.kernel import mounts, paths
from builder.layers.diff import Change, changes
from builder.layers.tar import deleted_name
from builder.store.snapshotter import Active

_INJECTED = frozenset({".dockerenv", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab"})
_MOUNTED = ("dev", "proc", "sys")


def layer_changes(place: Workplace, container: Container) -> Iterator[Change]:
    """Give what a container changed over its image, as members of a layer, sorted."""
    active = active_of(place, container)
    targets = {point.target.strip("/") for point in container.mounts}
    userxattr = place.store.snapshots.userxattr
    lowers = active.lowers if active.work else _parents(place, container)
    for change in changes(active.upper, lowers, userxattr=userxattr):
        if not _is_ours(change, targets):
            yield change


def diff(place: Workplace, container: Container) -> Iterator[tuple[str, str]]:
    """Give (kind, path) for each change: A added, C changed, D deleted."""
    with _image_root(place, container) as root_fd:
        for entry, _fd in layer_changes(place, container):
            deleted = deleted_name(entry.name)
            if deleted is not None:
                yield "D", f"/{deleted}"
            else:
                yield ("C" if _exists(root_fd, entry.name) else "A"), f"/{entry.name}"


@contextmanager
def merged_root(place: Workplace, container: Container) -> Iterator[int]:
    """Open all files of a container, running or not, without its volumes; for reading."""
    active = active_of(place, container)
    if not active.work:
        fd = os.open(active.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
        return
    lowers = (active.upper, *active.lowers)
    with mounts.mounted_overlay(lowers, userxattr=place.store.snapshots.userxattr) as fd:
        yield fd


def active_of(place: Workplace, container: Container) -> Active:
    """Find a container's writable layer; raise StoreError if it is gone."""
    active = place.store.snapshots.active(owner_of(container.id))
    if active is None:
        lowers = _parents(place, container)
        active = layer_of(place.records.path(container.id), lowers, container.snapshot)
    if active is None:
        raise StoreError(f"the files of container {container.name} are gone", fix="remove it")
    return active


def _is_ours(change: Change, targets: set[str]) -> bool:
    name, kind = change.entry.name, change.entry.kind
    if name in _INJECTED:
        return kind == "file" and change.entry.size_bytes == 0
    first = name.partition("/")[0]
    if first in _MOUNTED:
        return True
    return name in targets and kind in {"directory", "file"}


def _image_root(place: Workplace, container: Container) -> AbstractContextManager[int]:
    snapshots = place.store.snapshots
    snapshot = None if container.snapshot is None else snapshots.find(container.snapshot)
    return snapshots.viewed(snapshot)


def _parents(place: Workplace, container: Container) -> tuple[str, ...]:
    snapshots = place.store.snapshots
    snapshot = None if container.snapshot is None else snapshots.find(container.snapshot)
    return () if snapshot is None else snapshots.lowers(snapshot)


def _exists(root_fd: int, name: str) -> bool:
    try:
        fd = paths.open_nofollow(root_fd, name)
    except KernelError:
        return False
    try:
        return not stat.S_ISCHR(os.fstat(fd).st_mode) or os.fstat(fd).st_rdev != 0
    finally:
        os.close(fd)
