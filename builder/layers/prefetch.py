"""A source read ahead by a thread, for streams whose reading is work: decompressing, digesting.

The thread starts at once where the stream is known to be long, or else after the first piece.
"""

import threading
from queue import SimpleQueue
from typing import Self

from builder.layers.stream import Source
from builder.layers.tar import PIECE_BYTES

_AHEAD = 4


class Prefetch:
    """Gives what a source gives, in order, read ahead by up to 4 MiB; a context manager."""

    def __init__(self, source: Source, *, is_long: bool = False) -> None:
        """Read from `source`, which belongs to this object until it is closed."""
        self._source = source
        self._pieces: SimpleQueue[bytes | BaseException] = SimpleQueue()
        self._room = threading.Semaphore(_AHEAD)
        self._thread: threading.Thread | None = None
        self._is_long = is_long
        self._is_stopped = False
        self._read_bytes = 0
        self._held: bytes | BaseException = b"."
        self._position = 1

    def __enter__(self) -> Self:
        if self._is_long:
            self._start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._is_stopped = True
        if self._thread is not None:
            self._room.release()
            self._thread.join()

    def read(self, size: int) -> bytes:
        """Give up to `size` bytes, of what is there already; none at the end."""
        if isinstance(self._held, bytes) and self._held and self._position == len(self._held):
            self._held, self._position = self._next(), 0
        if isinstance(self._held, BaseException):
            raise self._held
        piece = self._held[self._position : self._position + size]
        self._position += len(piece)
        return piece

    def _next(self) -> bytes | BaseException:
        if self._thread is None and self._read_bytes < PIECE_BYTES:
            piece = self._source.read(PIECE_BYTES)
            self._read_bytes += len(piece)
            return piece
        if self._thread is None:
            self._start()
        ahead = self._pieces.get()
        self._room.release()
        return ahead

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        piece: bytes | BaseException = b"."
        while piece and isinstance(piece, bytes):
            self._room.acquire()
            if self._is_stopped:
                return
            try:
                piece = self._source.read(PIECE_BYTES)
            except BaseException as error:  # noqa: BLE001 - raised again by read()
                piece = error
            self._pieces.put(piece)
