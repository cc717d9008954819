"""SHA-256 of file contents, remembered by what lstat says, so that unchanged files are not read.

As git does with its index, a file that was changed in the same instant in which it was read is not
remembered: another change could leave its times as they are. Only the change time counts for that,
which no one can set.
"""

import os
import struct
import time

from xxhash import xxh3_128_digest

from builder.oci.digest import sha256

_STATUS = struct.Struct("<IQQQQ")
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_DIGEST_BYTES = 32
_MAGIC = b"memo2\0\0\0"
_SUM_BYTES = 16
_RACY_NS = 20_000_000
_PIECE_BYTES = 256 << 10
_MAX_ENTRIES = 2_000_000
_KEPT_UNUSED = 1000


def packed_status(status: os.stat_result) -> bytes:
    """Pack what identifies a state of a file: mode, size, times of content and inode, inode."""
    return _STATUS.pack(
        status.st_mode,
        status.st_size,
        status.st_mtime_ns & _MASK,
        status.st_ctime_ns & _MASK,
        status.st_ino,
    )


def is_unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Whether a file is in the same state as before."""
    return (
        before.st_ctime_ns == after.st_ctime_ns
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_size == after.st_size
        and before.st_ino == after.st_ino
        and before.st_mode == after.st_mode
    )


def is_settled(status: os.stat_result, before_ns: int) -> bool:
    """Whether a file was last changed safely before a moment (of `time.time_ns`)."""
    return status.st_ctime_ns + _RACY_NS < before_ns


class Memo:
    """Digests by packed status. Of what a build did not use, as much is kept as of what it did."""

    def __init__(self, packed: bytes = b"") -> None:
        """Load what `packed` gave; anything else counts as empty."""
        self._known: dict[bytes, bytes] = {}
        self._used: dict[bytes, bytes] = {}
        record = _STATUS.size + _DIGEST_BYTES
        body = len(_MAGIC) + _SUM_BYTES
        if not _is_whole(packed) or (len(packed) - body) % record:
            return
        for start in range(body, len(packed), record):
            middle = start + _STATUS.size
            self._known[packed[start:middle]] = packed[middle : start + record]

    def find(self, status: bytes) -> bytes | None:
        """Look a file's digest up by its packed status."""
        digest = self._known.get(status)
        if digest is not None:
            self._used[status] = digest
        return digest

    def keep(self, status: bytes, digest: bytes) -> None:
        """Remember a digest."""
        self._known[status] = self._used[status] = digest

    def packed(self) -> bytes:
        """Pack the entries that were used or added, and before them the latest of the others."""
        unused = [pair for pair in self._known.items() if pair[0] not in self._used]
        kept = unused[-(len(self._used) + _KEPT_UNUSED) :]
        pairs = [*kept, *self._used.items()][-_MAX_ENTRIES:]
        content = b"".join([part for pair in pairs for part in pair])
        return _MAGIC + xxh3_128_digest(content) + content


def _is_whole(packed: bytes) -> bool:
    """Whether nothing happened to a memo on the disk: a flipped bit would name wrong content."""
    content = memoryview(packed)[len(_MAGIC) + _SUM_BYTES :]
    return packed[: len(_MAGIC) + _SUM_BYTES] == _MAGIC + xxh3_128_digest(content)


def content_digest(fd: int, size_bytes: int) -> bytes:
    """Digest a regular file from its position to its end; `size_bytes` is a good guess."""
    digest = sha256()
    wanted = min(size_bytes + 1, _PIECE_BYTES)  # small buffers are reused, large ones mapped anew
    while True:
        piece = os.read(fd, wanted)
        digest.update(piece)
        if len(piece) < wanted:  # only at the end does a regular file give less
            return digest.digest()


def now_ns() -> int:
    """Tell the time that file systems stamp with."""
    return time.time_ns()
