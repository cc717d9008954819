"""Blobs on their way out: compressed, and digested on both sides in the same pass.

What comes out depends on the bytes and the level only, never on the pieces they arrive in or on
which thread was faster. A small blob starts no thread. Memory stays flat.
"""

import os
from collections.abc import Callable
from typing import Protocol, Self

from builder.errors import KernelError
from builder.layers.blocks import Blocks
from builder.layers.deflate import Gzip, Recall, form
from builder.layers.stream import Decompressed, FdSource
from builder.layers.tar import BUFFER_BYTES
from builder.layers.zstd import Zstd
from builder.oci.digest import SHA256_PREFIX, Digest, sha256
from builder.oci.media import Compression
from builder.values import NamedTuple

Buffer = bytes | bytearray | memoryview
Sink = Callable[[Buffer], None]

_FIRST_BYTES = 32 << 10
"""The first buffer of a blob: most blobs are smaller, and clearing a large one takes time."""
_MOST_FREE = 2


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
        """Take the next block, which is whole; more will follow. Release it when it is done."""

    def finish(self, block: Buffer) -> None:
        """Take the last block, of at most a whole one and maybe empty, and end the stream."""


class Compressor:
    """Writes one blob to a descriptor, which stays the caller's: not closed, not synced.

    Content is gathered in blocks of a fixed size; their buffers are used again and again.
    """

    def __init__(
        self,
        out_fd: int,
        compression: Compression,
        level: int | None = None,
        *,
        recall: Recall | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Compress at a level on the scale of the format, or at our choice.

        What `recall` knows of a gzip blob is not deflated again. `check` is called now and then,
        and may raise.
        """
        self._check = check
        self._out_fd = out_fd
        self._level = level
        self._block: bytes | bytearray = bytearray(_FIRST_BYTES)
        self._filled_bytes = 0
        self._free: list[bytearray] = []
        self._plain = sha256()
        self._packed = sha256()
        self._plain_bytes = 0
        self._packed_bytes = 0
        self._is_plain = compression == "none"
        self._encoder = _encoder(compression, level, self._emit, self._release, recall)

    def __enter__(self) -> Self:
        self._encoder.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._encoder.__exit__(*exc)

    def write(self, content: Buffer) -> None:
        """Take some more plain bytes."""
        is_whole = len(content) == BUFFER_BYTES and self._filled_bytes in {0, BUFFER_BYTES}
        if is_whole and isinstance(content, bytes):
            self._take_over(content)
            return
        rest = memoryview(content)
        while rest:
            with self._room() as room:
                count = min(len(rest), len(room))
                room[:count] = rest[:count]
            self._filled_bytes += count
            rest = rest[count:]

    def copy(self, fd: int, size_bytes: int) -> int:
        """Read plain bytes from a descriptor's position; say how many there were, up to `size`."""
        left = size_bytes
        while left:
            with self._room() as room:
                count = os.readv(fd, [room[:left]])
            if not count:
                break
            self._filled_bytes += count
            left -= count
        return size_bytes - left

    def finish(self) -> Blob:
        """End the blob and name it. The last block is whole or part, never missing."""
        with memoryview(self._block)[: self._filled_bytes] as block:
            self._take(block)
            self._encoder.finish(block)
        diff_id = Digest(SHA256_PREFIX + self._plain.hexdigest())
        digest = diff_id if self._is_plain else Digest(SHA256_PREFIX + self._packed.hexdigest())
        return Blob(digest, self._packed_bytes, diff_id, self._plain_bytes)

    def blocks(self, blob: Blob) -> Blocks | None:
        """Tell where the blocks of the finished blob are, if it has any that can be recalled."""
        if not isinstance(self._encoder, Gzip):
            return None
        return Blocks(form(self._level), blob.digest, tuple(self._encoder.sizes))

    def _room(self) -> memoryview:
        """Give the part of a block that is not filled yet, of one byte at least."""
        if self._filled_bytes == len(self._block):
            if self._filled_bytes < BUFFER_BYTES:
                self._block += bytes(BUFFER_BYTES - self._filled_bytes)
            else:
                self._hand_on()
                self._block = self._free.pop() if self._free else bytearray(BUFFER_BYTES)
        return memoryview(self._block)[self._filled_bytes :]

    def _take_over(self, block: bytes) -> None:
        """Make a whole block that nobody will change the next one, where one begins."""
        if self._filled_bytes:
            self._hand_on()
        elif len(self._block) == BUFFER_BYTES:
            self._release(self._block)
        self._block, self._filled_bytes = block, BUFFER_BYTES

    def _hand_on(self) -> None:
        """Encode a whole block, which was held until now: it could have been the last."""
        self._check()
        block, self._block = self._block, b""
        self._encoder.encode(block)
        self._take(block)
        self._filled_bytes = 0

    def _release(self, block: Buffer) -> None:
        if len(self._free) < _MOST_FREE and isinstance(block, bytearray):
            self._free.append(block)

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
        while piece := source.read(BUFFER_BYTES):
            compressor.write(piece)
        return compressor.finish()


class _Plain:
    """The encoder of plain bytes, which go to the sink as they are."""

    def __init__(self, sink: Sink, release: Callable[[Buffer], None]) -> None:
        self._sink = sink
        self._release = release

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def encode(self, block: Buffer) -> None:
        """Pass a block on."""
        self._sink(block)
        self._release(block)

    def finish(self, block: Buffer) -> None:
        """Pass the last block on."""
        self._sink(block)


def _encoder(
    compression: Compression,
    level: int | None,
    sink: Sink,
    release: Callable[[Buffer], None],
    recall: Recall | None,
) -> Encoder:
    match compression:
        case "gzip":
            return Gzip(sink, release, level, recall)
        case "zstd":
            return Zstd(sink, release, level)
        case "none":
            return _Plain(sink, release)
