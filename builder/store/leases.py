"""What a living process needs, written down where others' garbage collection finds it.

A lease is a file that its process holds locked (flock): when the process dies, however it dies, the
lease is void and whoever opens the store next sweeps what belonged to it. Its lines are pins: `b`
and a blob's digest, `i` and the digest of an image's manifest, `s` and a snapshot's number.

A look-up and its pin happen below the shared sweep lock, so that nothing is deleted in between;
collection deletes below the exclusive one.
"""

import fcntl
import os
from _thread import RLock, get_ident
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

from builder.errors import InvalidImage
from builder.oci.digest import Digest, parse_digest
from builder.store.atomic import read_all, write_all
from builder.store.failure import translated
from builder.store.locks import SWEEP, Locks
from builder.store.paths import Paths
from builder.values import NamedTuple

_MAX_LEASE_BYTES = 64 << 20
_counter = count()


class Marks(NamedTuple):
    """Everything that leases pin."""

    blobs: set[Digest]
    images: set[Digest]
    snapshots: set[int]


class Leases:
    """The lease of this process, taken at the first pin, and a view of everyone else's."""

    def __init__(self, paths: Paths, locks: Locks) -> None:
        """Keep where leases are; nothing is taken yet."""
        self._paths = paths
        self._locks = locks
        self._name: str | None = None
        self._fd = -1
        self._pinned: set[str] = set()
        self._lock = RLock()
        self._unguarded: set[int] = set()

    @property
    def name(self) -> str:
        """Name the lease, taking it if need be; names of temporary files begin with it."""
        with self._lock:
            if self._name is None:
                self._take()
            assert self._name is not None  # noqa: S101 - _take has set it
            return self._name

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Keep collection away between looking something up and pinning it."""
        if get_ident() in self._unguarded:
            yield
            return
        with self._locks.held(SWEEP, is_shared=True):
            yield

    @contextmanager
    def sweeping(self) -> Iterator[None]:
        """Keep everyone else's look-ups away while the unreferenced is deleted; may wait."""
        with self._locks.held(SWEEP), self.unguarded():
            yield

    @contextmanager
    def unguarded(self) -> Iterator[None]:
        """Let this thread look up without the sweep lock: it holds it, or may not wait for it."""
        me = get_ident()
        is_outermost = me not in self._unguarded
        self._unguarded.add(me)
        try:
            yield
        finally:
            if is_outermost:
                self._unguarded.discard(me)

    def pin_blob(self, digest: Digest) -> None:
        """Keep one blob while this lease lives."""
        self._pin(f"b {digest}\n")

    def pin_image(self, digest: Digest) -> None:
        """Keep a manifest or index and all that it names."""
        self._pin(f"i {digest}\n")

    def pin_snapshot(self, snapshot_id: int) -> None:
        """Keep a snapshot, its ancestors and the blobs of their layers."""
        self._pin(f"s {snapshot_id}\n")

    def live(self) -> Marks:
        """Collect the pins of all leases whose process lives, this one's included."""
        marks = Marks(set(), set(), set())
        for name in self._names():
            content = self._read_live(name)
            for line in content.decode("ascii", "replace").splitlines():
                _mark(line, marks)
        return marks

    def has_living_others(self) -> bool:
        """Whether another process, or another store in this one, holds a lease."""
        return any(name != self._name and self._is_live(name) for name in self._names())

    def sweep_dead(self, clean: Callable[[str], None]) -> None:
        """Remove leases whose process is dead; `clean` is called with the name of each first."""
        with translated(self._paths.leases):
            for name in self._names():
                if name == self._name:
                    continue
                fd = self._open(name)
                if fd is None:
                    continue
                try:
                    if _try_flock(fd):
                        clean(name)
                        _unlink_if_there(f"{self._paths.leases}/{name}")
                finally:
                    os.close(fd)

    def close(self) -> None:
        """Give the lease back; call when nothing temporary is left below its name."""
        with self._lock:
            if self._name is not None:
                _unlink_if_there(f"{self._paths.leases}/{self._name}")
            self.forget()

    def forget(self) -> None:
        """Let go of the descriptor without ending the lease: for a forked child.

        The lock belongs to the open file description, which the parent still has.
        """
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._name = -1, None
        self._pinned.clear()

    def _pin(self, line: str) -> None:
        with self._lock:
            if line in self._pinned:
                return
            if self._name is None:
                self._take()
            with translated(self._paths.leases):
                write_all(self._fd, line.encode())
            self._pinned.add(line)

    def _take(self) -> None:
        with translated(self._paths.leases):
            while True:
                name = f"{os.getpid()}-{os.urandom(4).hex()}-{next(_counter)}"
                path = f"{self._paths.leases}/{name}"
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
                fd = os.open(path, flags, 0o600)
                # Between open and flock another process may have taken it for a dead one's.
                if _try_flock(fd) and os.fstat(fd).st_nlink:
                    break
                os.close(fd)
        self._name, self._fd = name, fd

    def _names(self) -> list[str]:
        with translated(self._paths.leases):
            return os.listdir(self._paths.leases)

    def _is_live(self, name: str) -> bool:
        fd = self._open(name)
        if fd is None:
            return False
        try:
            return not _try_flock(fd)
        finally:
            os.close(fd)

    def _open(self, name: str) -> int | None:
        try:
            return os.open(f"{self._paths.leases}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None

    def _read_live(self, name: str) -> bytes:
        fd = self._open(name)
        if fd is None:
            return b""
        try:
            return b"" if _try_flock(fd) else read_all(fd, _MAX_LEASE_BYTES)
        finally:
            os.close(fd)


def _mark(line: str, marks: Marks) -> None:
    kind, _, name = line.partition(" ")
    try:
        if kind == "s":
            marks.snapshots.add(int(name))
        elif kind == "b":
            marks.blobs.add(parse_digest(name))
        elif kind == "i":
            marks.images.add(parse_digest(name))
    except (InvalidImage, ValueError):
        return  # a line torn by a crash pins nothing that was handed out


def _try_flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unlink_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
