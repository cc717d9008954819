"""One gzip member made by several threads: blocks deflated apart, joined by sync flushes.

A block begins with the end of the one before as its dictionary: what comes out is as small as if
it were made in one go, and the same whichever thread is faster. ISA-L's levels are 0 to 3; the
user's are gzip's 0 to 9.

Spec: RFC 1952; the header has time 0, no name, and OS 255, as Go writes it.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import Self

from isal import isal_zlib

from builder.concurrency import Pool, Task

Buffer = bytes | bytearray | memoryview

DEFAULT_LEVEL = 3  # 1 % smaller than 2, for an eighth more time
_LEVELS = (0, 1, 2, 2, 2, 3, 3, 3, 3, 3)
_RAW_WBITS = -15
_HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_WINDOW_BYTES = 32 << 10
_THREADS = 2
_AHEAD = 5
"""Blocks under way at once: enough to keep both threads busy while the oldest is written."""


class Gzip:
    """Encodes blocks for a sink; its two threads start with the second block."""

    def __init__(
        self,
        sink: Callable[[Buffer], None],
        release: Callable[[bytearray], None],
        level: int | None = None,
    ) -> None:
        """Take the user's level, 0 to 9, or our default; blocks go back by `release`."""
        self._sink = sink
        self._release = release
        self._level = DEFAULT_LEVEL if level is None else _LEVELS[max(0, min(9, level))]
        self._pool = Pool(_THREADS)
        self._tasks: deque[tuple[bytearray, Task]] = deque()
        self._window = b""
        self._crc = 0
        self._size_bytes = 0

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.__exit__(*exc)

    def encode(self, block: bytearray) -> None:
        """Queue a block, and write out the oldest when enough are under way."""
        if not self._size_bytes:
            self._sink(_HEADER)
        self._tasks.append((block, self._pool.submit(deflated, block, self._level, self._window)))
        self._window = bytes(block[-_WINDOW_BYTES:])
        self._count(block)
        if len(self._tasks) == _AHEAD:
            self._write_oldest()

    def finish(self, block: Buffer) -> None:
        """Write out what is under way, the last block and the trailer."""
        last = deflated(block, self._level, self._window, is_last=True)
        self._count(block)
        head = b"" if self._window else _HEADER
        while self._tasks:
            self._write_oldest()
        trailer = struct.pack("<II", self._crc, self._size_bytes & 0xFFFF_FFFF)
        self._sink(b"".join((head, *last, trailer)))

    def _count(self, block: Buffer) -> None:
        self._crc = isal_zlib.crc32(block, self._crc)
        self._size_bytes += len(block)

    def _write_oldest(self) -> None:
        block, task = self._tasks.popleft()
        for packed in task.result():
            if packed:
                self._sink(packed)
        self._release(block)


def deflated(
    block: Buffer, level: int, window: bytes, *, is_last: bool = False
) -> tuple[bytes, bytes]:
    """Deflate what follows a window, ending on a byte's boundary unless it is the last."""
    encoder = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _RAW_WBITS, zdict=window)
    packed: bytes = encoder.compress(block)
    return packed, encoder.flush(isal_zlib.Z_FINISH if is_last else isal_zlib.Z_SYNC_FLUSH)
