"""Streams of bytes on their way in: digested, and decompressed by what their first bytes say.

A source is anything with `read(size)`, which gives up to so many bytes, and none at its end.
Memory stays flat: no read gives more than a piece, whatever was compressed into it.
"""

import os
from typing import Protocol

from builder.errors import InvalidImage, KernelError
from builder.layers.inflate import Format, inflater
from builder.layers.tarreader import Reader
from builder.oci.digest import SHA256_PREFIX, Digest, sha256

_INPUT_BYTES = 256 << 10
_RATIO_GRACE_BYTES = 4 << 30
MAX_RATIO = 20_000
_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_SKIPPABLE_ZSTD = b"\x2a\x4d\x18"
_HEAD_BYTES = 6


class Source(Protocol):
    """Where bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Give up to `size` bytes, waiting for at least one; none at the end."""


class FdSource:
    """The bytes of a descriptor, from its position on; the descriptor stays the caller's."""

    def __init__(self, fd: int) -> None:
        """Read from `fd`."""
        self._fd = fd

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes; raise KernelError."""
        try:
            return os.read(self._fd, size)
        except OSError as error:
            raise KernelError("read", error.errno or 0) from None


class BytesSource:
    """Bytes that are in memory already."""

    def __init__(self, content: bytes) -> None:
        """Give the content piece by piece."""
        self._content = content
        self._position = 0

    def read(self, size: int) -> bytes:
        """Give up to `size` bytes."""
        piece = self._content[self._position : self._position + size]
        self._position += len(piece)
        return piece


class Digesting:
    """A source that digests what is read through it."""

    def __init__(self, source: Source) -> None:
        """Digest what `source` gives."""
        self._source = source
        self._sha256 = sha256()
        self.size_bytes = 0

    def read(self, size: int) -> bytes:
        """Read up to `size` bytes and digest them."""
        piece = self._source.read(size)
        self._sha256.update(piece)
        self.size_bytes += len(piece)
        return piece

    @property
    def digest(self) -> Digest:
        """Name what was read so far."""
        return Digest(SHA256_PREFIX + self._sha256.hexdigest())


def detect(head: bytes) -> Format:
    """Tell a stream's compression from its first bytes."""
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    is_skippable = len(head) > len(_SKIPPABLE_ZSTD) and head[1:4] == _SKIPPABLE_ZSTD
    return "zstd" if is_skippable and 0x50 <= head[0] <= 0x5F else "none"  # noqa: PLR2004 - RFC 8878


class Decompressed:
    """The plain bytes of a source, however it is compressed; `format` says how it was."""

    def __init__(self, source: Source, *, max_bytes: int | None = None) -> None:
        """Look at the first bytes of `source`; more than `max_bytes` plain ones are an error."""
        self._source = source
        self._max_bytes = max_bytes
        self._input = _head(source)
        self._taken_bytes = len(self._input)
        self._given_bytes = 0
        self.format = detect(self._input)
        self._inflater = None if self.format == "none" else inflater(self.format)

    def read(self, size: int) -> bytes:
        """Give up to `size` plain bytes; raise InvalidImage where the compressed ones are bad."""
        piece = self._plain(size) if self._inflater is None else self._inflated(size)
        self._given_bytes += len(piece)
        self._check()
        return piece

    def _plain(self, size: int) -> bytes:
        if self._input:
            piece, self._input = self._input[:size], self._input[size:]
            return piece
        return self._source.read(size)

    def _inflated(self, size: int) -> bytes:
        assert self._inflater is not None  # noqa: S101 - chosen by read()
        while True:
            piece = self._inflater.inflate(self._input, size)
            self._input = b""
            if piece:
                return piece
            self._input = self._source.read(_INPUT_BYTES)
            self._taken_bytes += len(self._input)
            if not self._input:
                self._inflater.end()
                return b""

    def _check(self) -> None:
        if self._max_bytes is not None and self._given_bytes > self._max_bytes:
            raise InvalidImage(f"a stream unpacks to more than {self._max_bytes} bytes")
        if self._given_bytes > max(_RATIO_GRACE_BYTES, self._taken_bytes * MAX_RATIO):
            raise InvalidImage(f"a stream unpacks to more than {MAX_RATIO} times its size")


def decompressed(source: Source, *, max_bytes: int | None = None) -> Decompressed:
    """Read a source through the decompressor that its content asks for."""
    return Decompressed(source, max_bytes=max_bytes)


def is_archive(fd: int) -> bool:
    """Whether a file decompresses, or needs none, and begins with a valid tar header.

    An empty archive does not count. The position is at the start before and after.
    """
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        return any(True for _ in Reader(Decompressed(FdSource(fd)).read))
    except (InvalidImage, KernelError):
        return False
    finally:
        os.lseek(fd, 0, os.SEEK_SET)


def _head(source: Source) -> bytes:
    """Read enough to recognise a format by; sources may give it a byte at a time."""
    head = source.read(_INPUT_BYTES)
    while head and len(head) < _HEAD_BYTES and (more := source.read(_INPUT_BYTES)):
        head += more
    return head
