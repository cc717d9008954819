"""The compressed blocks of a gzip blob that was made here, so that they need not be made again.

An index says where each block ends. It is never believed: every block is inflated by itself, and
must end where the index says. Only its form, how blocks were made, is taken as it is.
"""

import os
from collections.abc import Sequence

from builder.errors import InvalidImage, KernelError
from builder.layers.deflate import HEADER, Known, inflated
from builder.layers.tar import BUFFER_BYTES
from builder.oci.digest import SHA256_PREFIX, Digest, sha256
from builder.values import NamedTuple

_MAX_PACKED_BYTES = 2 * BUFFER_BYTES
_KEPT = 8
"""More than what is read ahead, with what the compressor holds back."""


class Blocks(NamedTuple):
    """An index: how the blocks were made, of which blob they are, and the size of each."""

    form: str
    digest: str
    sizes: tuple[int, ...]


class BlockReader:
    """The plain bytes of a blob, read by its index block for block; the latest are remembered.

    The descriptor, at its beginning, stays the caller's.
    """

    def __init__(self, fd: int, sizes: Sequence[int]) -> None:
        """Read the blob from `fd`."""
        self._fd = fd
        self._sizes = sizes
        self._sha256 = sha256()
        self._number = -1
        self._window = b""
        self._known: dict[int, Known] = {}

    def read(self, _size: int) -> bytes:
        """Give the next block, whatever size is asked for; none at the end of the blob.

        Raises InvalidImage if the blob is not what its index says.
        """
        if self._number < 0 and self._taken(len(HEADER)) != HEADER:
            raise InvalidImage("an earlier layer does not begin as its index says")
        self._number += 1
        if self._number >= len(self._sizes):
            while self._taken(BUFFER_BYTES):
                pass
            return b""
        is_last = self._number == len(self._sizes) - 1
        packed = self._taken(min(self._sizes[self._number], _MAX_PACKED_BYTES))
        plain = inflated(packed, self._window, is_last=is_last)
        if not plain or (len(plain) < BUFFER_BYTES and not is_last):
            raise InvalidImage("a block of an earlier layer does not end where its index says")
        self._window = plain
        self._known[self._number] = Known(plain, packed, is_last)
        self._known.pop(self._number - _KEPT, None)
        return plain

    def recall(self, number: int) -> Known | None:
        """Give a block that was read lately; another thread may be reading."""
        return self._known.get(number)

    @property
    def digest(self) -> Digest:
        """Name what was read so far: the blob, after its end."""
        return Digest(SHA256_PREFIX + self._sha256.hexdigest())

    def _taken(self, size: int) -> bytes:
        try:
            piece = os.read(self._fd, size)
        except OSError as error:
            raise KernelError("read", error.errno or 0) from None
        self._sha256.update(piece)
        return piece
