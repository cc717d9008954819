"""What is known of a client's directories, so that unchanged files are neither read nor looked at.

Each directory that was digested is kept with its names, the packed status and the SHA-256 of each
file, and what came of them all. As git does with its index, a file that was changed in the same
instant in which it was read is not remembered: another change could leave its times as they are.
Only the change time counts for that, which no one can set.
"""

import os
import time
from collections.abc import Iterator

from builder.layers.folder import Folder
from builder.layers.sealed import sealed, unsealed
from builder.oci.digest import sha256
from builder.values import NamedTuple

UNKNOWN = bytes(32)
"""Stands for the content of a file that is not known, and of what has none."""
_MAGIC = b"memo3\0\0\0"
_RACY_NS = 20_000_000
_PIECE_BYTES = 256 << 10
_MAX_FILES = 2_000_000
_KEPT_UNUSED = 1000


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


class Part(NamedTuple):
    """A directory as copies see it: what is in it, but not what is in directories in it.

    It holds for one set of ignore patterns.
    """

    digest: bytes
    """Of names, modes and contents."""
    state: bytes
    """Of all that a copy depends on: times too. Empty if that is not certain."""
    below: tuple[str, ...]
    """The names of directories in it, in order, also of those that only lead to what is shown."""
    shown: int
    """How much is in it, without directories that only lead to what is shown."""
    brief: bytes
    """Names, and of each file a few bytes that change when it does: see `brief`."""


class Known(NamedTuple):
    """A directory as it was when it was digested."""

    names: bytes
    statuses: bytes
    contents: bytes
    """Digests in the order of the names; UNKNOWN where there is none."""
    view: bytes = b""
    """Names the ignore patterns for which `part` holds."""
    part: Part | None = None

    def is_of(self, folder: Folder) -> bool:
        """Whether the directory still is what it was."""
        return self.statuses == folder.statuses and self.names == folder.names

    @property
    def files(self) -> int:
        """How many files there are."""
        return len(self.contents) // len(UNKNOWN)

    def digests(self) -> dict[tuple[bytes, bytes], bytes]:
        """Give what is known of contents, by name and packed status."""
        found = {}
        for at, file in enumerate(Folder(None, self.names, self.statuses).split()):
            digest = self.contents[at * 32 : at * 32 + 32]
            if digest != UNKNOWN:
                found[file] = digest
        return found


class Memo:
    """Directories by path. Of what a build did not use, as much is kept as of what it did."""

    def __init__(self, packed: bytes = b"") -> None:
        """Load what `packed` gave; anything else counts as empty."""
        self._known: dict[str, Known] = {}
        self._used: dict[str, Known] = {}
        for path, *fields, part in unsealed(_MAGIC, packed) or ():
            self._known[path] = Known._make((*fields, Part(*part) if part else None))

    def find(self, path: str) -> Known | None:
        """Look a directory up."""
        return self._used.get(path) or self._known.get(path)

    def keep(self, path: str, known: Known) -> None:
        """Remember a directory, or that what is known of it was of use."""
        self._used[path] = known

    def paths(self) -> Iterator[tuple[str, Known]]:
        """Give what was loaded."""
        yield from self._known.items()

    def packed(self) -> bytes:
        """Pack what was used or added, and before it the latest of the rest."""
        used = list(self._used.items())
        count = sum(known.files + 1 for _path, known in used)
        left = min(_MAX_FILES, 2 * count + _KEPT_UNUSED) - count
        kept = []
        for path, known in reversed(self._known.items()):
            if path in self._used:
                continue
            left -= known.files + 1
            if left < 0:
                break
            kept.append((path, known))
        rows = [
            (path, *known[:-1], tuple(known.part) if known.part else ())
            for path, known in (*reversed(kept), *used)
        ]
        return sealed(_MAGIC, rows)


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
