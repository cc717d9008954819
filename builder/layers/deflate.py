"""One gzip member made by several threads: blocks of 1 MiB, deflated apart, joined by sync flushes.

A block knows nothing of the one before, which costs a per cent of size and lets two cores work.
ISA-L's levels are 0 to 3; the user's are gzip's 0 to 9.

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
_THREADS = 2
_AHEAD = 6
"""Blocks under way at once: enough to keep both threads busy while the oldest is written."""


class Gzip:
    """Encodes blocks for a sink; its two threads start with the second block."""

    def __init__(self, sink: Callable[[Buffer], None], level: int | None = None) -> None:
        """Take the user's level, 0 to 9, or our default."""
        self._sink = sink
        self._level = DEFAULT_LEVEL if level is None else _LEVELS[max(0, min(9, level))]
        self._pool = Pool(_THREADS)
        self._tasks: deque[Task] = deque()
        self._crc = 0
        self._size_bytes = 0
        self._is_begun = False

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.__exit__(*exc)

    def encode(self, block: Buffer) -> None:
        """Queue a block, and write out the oldest when enough are under way."""
        self._tasks.append(self._pool.submit(deflated, block, self._level))
        self._count(block)
        if len(self._tasks) > _AHEAD:
            self._write(self._tasks.popleft().result())

    def finish(self, block: Buffer) -> None:
        """Write out what is under way, the last block and the trailer."""
        last = deflated(block, self._level, is_last=True)
        self._count(block)
        while self._tasks:
            self._write(self._tasks.popleft().result())
        self._write(last + struct.pack("<II", self._crc, self._size_bytes & 0xFFFF_FFFF))

    def _count(self, block: Buffer) -> None:
        self._crc = isal_zlib.crc32(block, self._crc)
        self._size_bytes += len(block)

    def _write(self, packed: bytes) -> None:
        if not self._is_begun:
            self._is_begun = True
            packed = _HEADER + packed
        self._sink(packed)


def deflated(block: Buffer, level: int, *, is_last: bool = False) -> bytes:
    """Deflate a block by itself, ending on a byte's boundary unless it is the last."""
    encoder = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _RAW_WBITS)
    head: bytes = encoder.compress(block)
    tail: bytes = encoder.flush(isal_zlib.Z_FINISH if is_last else isal_zlib.Z_SYNC_FLUSH)
    return head + tail
