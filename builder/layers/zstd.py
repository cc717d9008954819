"""Zstandard streams; above a few MiB its own threads help.

The library's output is the same for any number of workers but none, so it is the size of the
content alone that decides between the two ways.
"""

from collections.abc import Callable
from typing import Any, Self

from builder.layers.tar import BUFFER_BYTES

Buffer = bytes | bytearray | memoryview

DEFAULT_LEVEL = 3
_MAX_LEVEL = 22
_THREADED_BLOCKS = (4 << 20) // BUFFER_BYTES
_WORKERS = 2
_JOB_BYTES = 1 << 20
_OVERLAP_LOG = 7
"""A job sees a quarter of the window before it: 2 % smaller than with less, for a tenth more time.

Small jobs keep memory small, and cost higher levels too much of what they are asked for.
"""


class Zstd:
    """Encodes blocks for a sink; up to 4 MiB are held back until it is known how much comes."""

    def __init__(
        self,
        sink: Callable[[Buffer], None],
        release: Callable[[Buffer], None],
        level: int | None = None,
    ) -> None:
        """Take zstd's level, 1 to 22 (0 is its default), or our default; `release` takes blocks."""
        self._sink = sink
        self._release = release
        self._level = DEFAULT_LEVEL if level is None else max(0, min(_MAX_LEVEL, level))
        self._held: list[Buffer] | None = []
        self._encoder: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._encoder = None  # ends its threads

    def encode(self, block: Buffer) -> None:
        """Take a block; with the first above 4 MiB, the workers start."""
        if self._held is None:
            self._put(block)
            self._release(block)
            return
        self._held.append(block)
        if len(self._held) > _THREADED_BLOCKS:
            self._begin(_WORKERS)

    def finish(self, block: Buffer) -> None:
        """Take the last block and end the frame."""
        if self._held is not None:
            self._begin(0)
        self._put(block)
        self._emit(self._encoder.flush())

    def _begin(self, workers: int) -> None:
        import pyzstd

        options: dict[int, int] = {
            pyzstd.CParameter.compressionLevel: self._level,
            pyzstd.CParameter.nbWorkers: workers,
        }
        if workers and self._level <= DEFAULT_LEVEL:
            options[pyzstd.CParameter.jobSize] = _JOB_BYTES
            options[pyzstd.CParameter.overlapLog] = _OVERLAP_LOG
        elif workers:
            options[pyzstd.CParameter.jobSize] = 2 * _JOB_BYTES
        self._encoder = pyzstd.ZstdCompressor(options)
        held, self._held = self._held or [], None
        for block in held:
            self._put(block)
            self._release(block)

    def _put(self, block: Buffer) -> None:
        self._emit(self._encoder.compress(block))

    def _emit(self, packed: bytes) -> None:
        if packed:
            self._sink(packed)
