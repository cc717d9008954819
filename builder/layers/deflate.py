"""One gzip member made by several threads: blocks deflated apart, joined by sync flushes.

A block begins with the end of the one before as its dictionary: what comes out is as small as if
it were made in one go, and the same whichever thread is faster. A block that was deflated before,
behind the same window, is not deflated again. ISA-L's levels are 0 to 3; the user's gzip's 0 to 9.

Spec: RFC 1952; the header has time 0, no name, and OS 255, as Go writes it.
"""

import struct
from collections import deque
from collections.abc import Callable
from typing import Self, cast

from isal import ISAL_VERSION, isal_zlib

from builder.concurrency import Pool, Task
from builder.layers.tar import BUFFER_BYTES
from builder.values import NamedTuple

Buffer = bytes | bytearray | memoryview

DEFAULT_LEVEL = 3  # 1 % smaller than 2, for an eighth more time
_LEVELS = (0, 1, 2, 2, 2, 3, 3, 3, 3, 3)
_RAW_WBITS = -15
HEADER = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_WINDOW_BYTES = 32 << 10
_ERROR = cast("type[Exception]", isal_zlib.error)
_SYNC_MARK = b"\0\0\xff\xff"
_END = b"\x03\0"
"""A last deflate block with nothing in it, for a stream that is on a byte's boundary."""
_THREADS = 2
_AHEAD = 5
"""Blocks under way at once: enough to keep both threads busy while the oldest is written."""


class Known(NamedTuple):
    """A block as it was deflated before."""

    plain: bytes
    packed: bytes
    is_last: bool


Recall = Callable[[int], Known | None]
"""Gives the block of a number, from 0, of a stream that may be much the same; None if unknown."""


class Gzip:
    """Encodes blocks for a sink; its two threads start with the second block that is new."""

    def __init__(
        self,
        sink: Callable[[Buffer], None],
        release: Callable[[Buffer], None],
        level: int | None = None,
        recall: Recall | None = None,
    ) -> None:
        """Take the user's level, 0 to 9, or our default; blocks go back by `release`.

        What `recall` gives must be of the same form, see `form`.
        """
        self._sink = sink
        self._release = release
        self._level = _level(level)
        self._recall = recall
        self._pool = Pool(_THREADS)
        self._tasks: deque[tuple[Buffer, Task | bytes]] = deque()
        self.sizes: list[int] = []
        """How long each block is that was written, without header and trailer."""
        self._number = 0
        self._window = b""
        self._is_window_known = True
        self._crc = 0
        self._size_bytes = 0

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._pool.__exit__(*exc)

    def encode(self, block: Buffer) -> None:
        """Queue a block, and write out the oldest when enough are under way."""
        if not self._size_bytes:
            self._sink(HEADER)
        packed = self._recalled(block, is_last=False)
        work = packed or self._pool.submit(deflated, block, self._level, self._window)
        self._tasks.append((block, work))
        self._window = bytes(block[-_WINDOW_BYTES:])
        self._count(block)
        while self._tasks and (len(self._tasks) == _AHEAD or isinstance(self._tasks[0][1], bytes)):
            self._write_oldest()

    def finish(self, block: Buffer) -> None:
        """Write out what is under way, the last block and the trailer."""
        last = self._recalled(block, is_last=True)
        last = last or b"".join(deflated(block, self._level, self._window, is_last=True))
        self._count(block)
        head = b"" if self._window else HEADER
        while self._tasks:
            self._write_oldest()
        trailer = struct.pack("<II", self._crc, self._size_bytes & 0xFFFF_FFFF)
        self.sizes.append(len(last))
        self._sink(b"".join((head, last, trailer)))

    def _recalled(self, block: Buffer, *, is_last: bool) -> bytes | None:
        """Find out what a block was deflated to; it depends on the window before it as well."""
        known = self._recall(self._number) if self._recall is not None else None
        self._number += 1
        follows, self._is_window_known = self._is_window_known, False
        if known is None:
            return None
        is_equal = known.plain == (bytes(block) if isinstance(block, memoryview) else block)
        self._is_window_known = is_equal or known.plain[-_WINDOW_BYTES:] == block[-_WINDOW_BYTES:]
        return known.packed if is_equal and follows and known.is_last == is_last else None

    def _count(self, block: Buffer) -> None:
        self._crc = isal_zlib.crc32(block, self._crc)
        self._size_bytes += len(block)

    def _write_oldest(self) -> None:
        block, work = self._tasks.popleft()
        pieces = (work,) if isinstance(work, bytes) else work.result()
        self.sizes.append(sum(map(len, pieces)))
        for packed in pieces:
            if packed:
                self._sink(packed)
        self._release(block)


def form(level: int | None) -> str:
    """Name how blocks are deflated: equal ones come out equal from the same form only.

    Its first number changes with the window and the size of blocks.
    """
    return f"gzip/1 {_level(level)} {ISAL_VERSION}"


def deflated(
    block: Buffer, level: int, window: bytes, *, is_last: bool = False
) -> tuple[bytes, bytes]:
    """Deflate what follows a window, ending on a byte's boundary unless it is the last."""
    encoder = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _RAW_WBITS, zdict=window)
    packed: bytes = encoder.compress(block)
    return packed, encoder.flush(isal_zlib.Z_FINISH if is_last else isal_zlib.Z_SYNC_FLUSH)


def inflated(packed: bytes, before: bytes, *, is_last: bool) -> bytes:
    """Inflate what follows some plain bytes; nothing if it is not just one block of `deflated`."""
    if not is_last:
        if not packed.endswith(_SYNC_MARK):
            return b""
        packed += _END
    decoder = isal_zlib.decompressobj(wbits=_RAW_WBITS, zdict=before[-_WINDOW_BYTES:])
    try:
        plain: bytes = decoder.decompress(packed, BUFFER_BYTES + 1)
    except _ERROR:
        return b""
    is_one = decoder.eof and not decoder.unused_data and len(plain) <= BUFFER_BYTES
    return plain if is_one else b""


def _level(level: int | None) -> int:
    return DEFAULT_LEVEL if level is None else _LEVELS[max(0, min(9, level))]
