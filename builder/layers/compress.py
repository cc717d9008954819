"""Blobs on their way out: compressed, and digested on both sides in the same pass.

What comes out depends on the bytes and the level only, never on the pieces they arrive in or on
which thread was faster. A small blob starts no thread. Memory stays flat.
"""

import os
from collections.abc import Callable
from typing import Protocol, Self

from builder.errors import KernelError
from builder.layers.deflate import Gzip
from builder.layers.stream import Decompressed, FdSource
from builder.layers.tar import PIECE_BYTES
from builder.layers.zstd import Zstd
from builder.oci.digest import SHA256_PREFIX, Digest, sha256
from builder.oci.media import Compression
from builder.values import NamedTuple

Buffer = bytes | bytearray | memoryview
Sink = Callable[[Buffer], None]


class Blob(NamedTuple):
    """A finished blob: its name and size, and those of the plain bytes in it."""

    digest: Digest
    size_bytes: int
    diff_id: Digest
    uncompressed_bytes: int


class Encoder(Protocol):
    """Turns blocks into compressed bytes for a sink; a context manager that ends its threads."""

    def __enter__(self) -> Self:
        """Return itself."""

    def __exit__(self, *exc: object) -> None:
        """End every thread, whatever happened."""

    def encode(self, block: Buffer) -> None:
        """Take the next block of exactly 1 MiB; more will follow."""

    def finish(self, block: Buffer) -> None:
        """Take the last block, of at most 1 MiB and maybe empty, and end the stream."""


class Compressor:
    """Writes one blob to a descriptor, which stays the caller's: not closed, not synced."""

    def __init__(self, out_fd: int, compression: Compression, level: int | None = None) -> None:
        """Compress at a level on the scale of the format, or at our choice."""
        self._out_fd = out_fd
        self._block: Buffer = bytearray()
        self._plain = sha256()
        self._packed = sha256()
        self._plain_bytes = 0
        self._packed_bytes = 0
        self._is_plain = compression == "none"
        self._encoder = _encoder(compression, level, self._emit)

    def __enter__(self) -> Self:
        self._encoder.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._encoder.__exit__(*exc)

    def write(self, content: Buffer) -> None:
        """Take some more plain bytes."""
        if self._is_plain:
            self._take(content)
            self._emit(content)
            return
        if len(self._block) == PIECE_BYTES:  # held until now: it could have been the last
            self._hand_on(self._block)
            self._block = bytearray()
        if not self._block and len(content) == PIECE_BYTES:
            self._block = content
            return
        block = bytearray(self._block)
        block += content
        if len(block) > PIECE_BYTES:
            with memoryview(block) as view:
                whole = (len(block) - 1) // PIECE_BYTES * PIECE_BYTES
                for start in range(0, whole, PIECE_BYTES):
                    self._hand_on(bytes(view[start : start + PIECE_BYTES]))
                block = bytearray(view[whole:])
        self._block = block

    def finish(self) -> Blob:
        """End the blob and name it. The last block is whole or part, never missing."""
        if not self._is_plain:
            self._take(self._block)
            self._encoder.finish(self._block)
        diff_id = Digest(SHA256_PREFIX + self._plain.hexdigest())
        digest = diff_id if self._is_plain else Digest(SHA256_PREFIX + self._packed.hexdigest())
        return Blob(digest, self._packed_bytes, diff_id, self._plain_bytes)

    def _hand_on(self, block: Buffer) -> None:
        self._encoder.encode(block)
        self._take(block)

    def _take(self, content: Buffer) -> None:
        self._plain.update(content)
        self._plain_bytes += len(content)

    def _emit(self, content: Buffer) -> None:
        if not self._is_plain:
            self._packed.update(content)
        self._packed_bytes += len(content)
        rest = memoryview(content)
        try:
            while rest:
                rest = rest[os.write(self._out_fd, rest) :]
        except OSError as error:
            raise KernelError("write", error.errno or 0) from None


def recompress(
    source_fd: int, out_fd: int, compression: Compression, level: int | None = None
) -> Blob:
    """Write a blob's plain bytes, however it is compressed, as another blob."""
    source = Decompressed(FdSource(source_fd))
    with Compressor(out_fd, compression, level) as compressor:
        while piece := source.read(PIECE_BYTES):
            compressor.write(piece)
        return compressor.finish()


class _Plain:
    """The encoder that is never asked: plain bytes go straight to the sink."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def encode(self, block: Buffer) -> None:
        """Do nothing."""

    def finish(self, block: Buffer) -> None:
        """Do nothing."""


def _encoder(compression: Compression, level: int | None, sink: Sink) -> Encoder:
    match compression:
        case "gzip":
            return Gzip(sink, level)
        case "zstd":
            return Zstd(sink, level)
        case "none":
            return _Plain()
