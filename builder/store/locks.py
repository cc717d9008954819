"""Locks between processes: one byte each of one file that is never deleted.

Open-file-description locks die with their holder, need no clean-up, and a name's hash picks the
byte, so two names never share a lock (63 bits). Every hold opens the file anew: threads of one
process exclude each other as processes do.

Spec: fcntl_locking(2), "Open file description locks".
"""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EACCES, EAGAIN, EINTR

from builder.concurrency import CancelToken
from builder.errors import StoreError
from builder.oci.digest import sha256
from builder.store.failure import translated

SWEEP = "sweep"
"""Held shared while references are added, exclusively while the unreferenced is deleted."""

_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05
_OFFSET_MASK = (1 << 62) - 1


class Locks:
    """All locks of one state directory."""

    def __init__(self, path: str) -> None:
        """Keep the lock file's path; it is created when first needed."""
        self._path = path

    @contextmanager
    def held(
        self,
        name: str,
        *,
        is_shared: bool = False,
        token: CancelToken | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[None]:
        """Hold the lock of a name, waiting for it.

        Raises Cancelled when the token is cancelled first, StoreError when the time is up.
        """
        fd = self._open()
        try:
            if not self._try(fd, name, is_shared=is_shared):
                self._wait(fd, name, is_shared=is_shared, token=token, timeout_s=timeout_s)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def tried(self, name: str, *, is_shared: bool = False) -> Iterator[bool]:
        """Hold the lock if it is free, and say whether it is held."""
        fd = self._open()
        try:
            yield self._try(fd, name, is_shared=is_shared)
        finally:
            os.close(fd)

    def _open(self) -> int:
        with translated(self._path):
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _wait(
        self,
        fd: int,
        name: str,
        *,
        is_shared: bool,
        token: CancelToken | None,
        timeout_s: float | None,
    ) -> None:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        pause_s = _FIRST_PAUSE_S
        while not self._try(fd, name, is_shared=is_shared):
            if token is not None:
                token.check()
            if deadline is not None and time.monotonic() >= deadline:
                raise StoreError(
                    f"another process has held the lock {name!r} for {timeout_s:g} seconds",
                    fix="wait for the other builder process, or end it",
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _try(self, fd: int, name: str, *, is_shared: bool) -> bool:
        request = lock_request(name, is_shared=is_shared)
        with translated(self._path):
            try:
                fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
            except OSError as error:
                if error.errno in {EAGAIN, EACCES, EINTR}:
                    return False
                raise
        return True


def lock_request(name: str, *, is_shared: bool) -> bytes:
    """Give the `struct flock` that asks for the lock of a name."""
    kind = fcntl.F_RDLCK if is_shared else fcntl.F_WRLCK
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, _offset(name), 1, 0)


def _offset(name: str) -> int:
    encoded = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(sha256(encoded).digest()[:8], "little") & _OFFSET_MASK
