"""Zstandard streams; above a few MiB its own threads help.

The library's output is the same for any number of workers but none, so it is the size of the
content alone that decides between the two ways.
"""

from collections.abc import Callable
from typing import Any, Self

Buffer = bytes | bytearray | memoryview

DEFAULT_LEVEL = 3
_MAX_LEVEL = 22
_THREADED_BLOCKS = 4
_WORKERS = 2
_JOB_BYTES = 2 << 20


class Zstd:
    """Encodes blocks for a sink; up to 4 MiB are held back until it is known how much comes."""

    def __init__(self, sink: Callable[[Buffer], None], level: int | None = None) -> None:
        """Take zstd's level, 1 to 22 (0 is its default), or our default."""
        self._sink = sink
        self._level = DEFAULT_LEVEL if level is None else max(0, min(_MAX_LEVEL, level))
        self._held: list[Buffer] | None = []
        self._encoder: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._encoder = None  # ends its threads

    def encode(self, block: Buffer) -> None:
        """Take a block; with the fifth, the workers start."""
        if self._held is None:
            self._put(block)
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
        if workers:
            options[pyzstd.CParameter.jobSize] = _JOB_BYTES
        self._encoder = pyzstd.ZstdCompressor(options)
        held, self._held = self._held or [], None
        for block in held:
            self._put(block)

    def _put(self, block: Buffer) -> None:
        self._emit(self._encoder.compress(block))

    def _emit(self, packed: bytes) -> None:
        if packed:
            self._sink(packed)
