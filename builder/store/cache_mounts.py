"""Directories that steps keep between builds: `RUN --mount=type=cache`.

An ID chosen in a Dockerfile is hashed, never a path. A mount that is being used is locked, shared
or exclusively, so that collection leaves it alone.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

from builder.concurrency import CancelToken
from builder.errors import StoreError
from builder.kernel.owner import change_owner
from builder.oci.digest import hex_of, key
from builder.store import trash
from builder.store.database import Database
from builder.store.failure import translated
from builder.store.locks import Locks
from builder.store.paths import Paths
from builder.store.sizes import directory_size
from builder.values import NamedTuple

Sharing = Literal["shared", "private", "locked"]


class CacheMount(NamedTuple):
    """A directory for one step; `is_new` if it is empty because nobody had it before."""

    path: str
    is_new: bool


class CacheMountUsage(NamedTuple):
    """One cache mount as `builder du` shows it. `hash` names it in the store."""

    hash: str
    id: str
    namespace: str
    created_s: int
    last_used_s: int
    size_bytes: int


class CacheMounts:
    """The cache mounts of one state directory; methods may be called from any thread."""

    def __init__(self, paths: Paths, database: Database, locks: Locks) -> None:
        """Keep the collaborators."""
        self._paths = paths
        self._database = database
        self._locks = locks

    @contextmanager
    def held(
        self,
        mount_id: str,
        *,
        namespace: str = "",
        sharing: Sharing = "shared",
        mode_bits: int = 0o755,
        uid: int = 0,
        gid: int = 0,
        fill: Callable[[int], None] | None = None,
        token: CancelToken | None = None,
    ) -> Iterator[CacheMount]:
        """Use a cache mount. Mode and owner are those of a new one, `fill` puts things into it.

        `shared` lets anybody in, `locked` waits for its turn, `private` takes another directory
        of the same ID where one is in use.
        """
        base = mount_hash(mount_id, namespace)
        with ExitStack() as stack:
            if sharing == "private":
                name = self._free(base, stack)
            else:
                name = base
                lock = self._locks.held(
                    lock_name(name), is_shared=sharing == "shared", token=token
                )  # fmt: skip
                stack.enter_context(lock)
            is_new = self._create(name, mode_bits, (uid, gid), fill)
            self._note_use(name, mount_id, namespace)
            yield CacheMount(self.path(name), is_new)

    def usages(self) -> tuple[CacheMountUsage, ...]:
        """List all cache mounts and measure them; those whose row was lost have no ID."""
        rows = {row[0]: row for row in self._database.query("SELECT * FROM cache_mounts")}
        found = []
        for name in sorted(os.listdir(self._paths.cache_mounts)):
            try:
                made_s = int(os.stat(self.path(name)).st_mtime)
                size_bytes = directory_size(self.path(name))
            except (FileNotFoundError, StoreError):
                continue
            row = (*rows.get(name, (name, "", "", made_s, made_s)), size_bytes)
            found.append(CacheMountUsage._make(row))
        return tuple(found)

    def remove(self, name: str) -> bool:
        """Remove a cache mount by its hash unless somebody uses it; False if it stays."""
        with self._locks.tried(lock_name(name)) as is_held:
            if is_held:
                self._database.query("DELETE FROM cache_mounts WHERE hash = ?", name)
                trash.discard(self.path(name), self._paths.trash)
        return is_held

    def path(self, name: str) -> str:
        """Name the directory of a cache mount by its hash."""
        return f"{self._paths.cache_mounts}/{name}"

    def _free(self, base: str, stack: ExitStack) -> str:
        number = 0
        while True:
            name = f"{base}-{number}" if number else base
            if stack.enter_context(self._locks.tried(lock_name(name))):
                return name
            number += 1

    def _note_use(self, name: str, mount_id: str, namespace: str) -> None:
        self._database.query(
            "INSERT INTO cache_mounts VALUES (?1, ?2, ?3, ?4, ?4)"
            " ON CONFLICT (hash) DO UPDATE SET last_used_s = max(last_used_s, ?4)",
            name, mount_id, namespace, int(time.time()),
        )  # fmt: skip

    def _create(
        self, name: str, mode_bits: int, owner: tuple[int, int], fill: Callable[[int], None] | None
    ) -> bool:
        """Make the directory whole, and only then visible; False if there was one."""
        path = self.path(name)
        if os.path.isdir(path):
            return False
        with self._locks.held(f"new {lock_name(name)}"), translated(path):
            if os.path.isdir(path):
                return False
            beside = f"{path}.new"  # one that a crash has left is begun anew
            trash.discard(beside, self._paths.trash)
            os.mkdir(beside, 0o700)
            fd = os.open(beside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if owner != (0, 0):
                    change_owner(fd, *owner)
                os.fchmod(fd, mode_bits)
                if fill is not None:
                    fill(fd)
            except BaseException:
                trash.discard(beside, self._paths.trash)
                raise
            finally:
                os.close(fd)
            os.rename(beside, path)
        return True


def mount_hash(mount_id: str, namespace: str) -> str:
    """Turn an ID and its namespace into the name of a directory."""
    return hex_of(key("cache-mount/1", namespace, mount_id))


def lock_name(name: str) -> str:
    """Name the lock of a cache mount's directory."""
    return f"cache-mount {name}"
