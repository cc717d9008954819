"""Who a step runs as: looked up in the image's passwd and group, and seldom twice.

Mounting the layers for two small files costs more than all else that a step needs from us. The
answer is kept under the topmost snapshot that may say who is who: those above it cannot change it.
That a step touched /etc is not enough: where an image lacks /etc/hosts, every step does.
"""

import marshal
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from stat import S_ISDIR, S_ISREG

from builder.errors import KernelError
from builder.kernel.ids import Identity, resolve_user
from builder.kernel.paths import open_nofollow
from builder.kernel.xattr import is_opaque
from builder.store.snapshotter import Snapshot
from builder.store.store import Store

_FILES = ("etc/passwd", "etc/group")


class Identities:
    """The users of one build's steps; any thread may ask.

    Each layer is looked into once: of a thousand steps the last would else look into all.
    """

    def __init__(self, store: Store) -> None:
        """Keep answers in a store, across builds."""
        self._store = store
        self._deciding: dict[int, bool] = {}

    def find(
        self,
        user: str,
        stack: tuple[Snapshot, ...],
        viewed: Callable[[], AbstractContextManager[int]],
    ) -> Identity:
        """Resolve a user in the tree of a stack of snapshots; `viewed` opens it, if need be."""
        name = None
        top = next((one for one in reversed(stack) if self._decides(one)), None)
        if top is not None:
            name = f"identity/1 {top.id} {user}".encode("utf-8", "surrogateescape")
            kept = self._store.records.memo(name)
            if kept is not None:
                return Identity(*marshal.loads(kept))  # noqa: S302 - from our own database
        with viewed() as root_fd:
            found = resolve_user(root_fd, user)
            if name is not None and _is_in_etc(root_fd):
                self._store.records.remember(name, marshal.dumps(tuple(found)))
        return found

    def _decides(self, snapshot: Snapshot) -> bool:
        known = self._deciding.get(snapshot.id)
        if known is None:
            userxattr = self._store.snapshots.userxattr
            known = self._deciding[snapshot.id] = _decides(snapshot.diff, userxattr=userxattr)
        return known


def _decides(diff: str, *, userxattr: bool) -> bool:
    """Whether a snapshot's own changes put files there, hide lower ones, or replace /etc."""
    etc = f"{diff}/etc"
    try:
        if not S_ISDIR(os.lstat(etc).st_mode):
            return True
    except FileNotFoundError:
        return False
    return any(os.path.lexists(f"{diff}/{path}") for path in _FILES) or is_opaque(
        etc, userxattr=userxattr
    )


def _is_in_etc(root_fd: int) -> bool:
    """Whether the files are where their names say, so that no link leads to another directory."""
    for path in ("etc", *_FILES):
        try:
            fd = open_nofollow(root_fd, path)
        except KernelError:
            return False
        mode = os.fstat(fd).st_mode
        os.close(fd)
        if not (S_ISDIR(mode) if path == "etc" else S_ISREG(mode)):
            return False
    return True
