"""One directory as it was listed: names in order, and what lstat said of each, packed.

Packed, two moments of a directory are compared at once, and a directory that nobody asks about
stays a few bytes objects. Whoever does ask gets the names and statuses themselves.
"""

import os
import struct
from collections.abc import Mapping
from stat import S_ISDIR, S_ISLNK, S_ISREG

from builder.layers.names import bytewise, decoded, encoded

_STATUS = struct.Struct("<IQqqQ")
STATUS_BYTES = _STATUS.size
_LINKS_AT = 16
_MAX_LINKS = 0xFFFF
_MODE = 0xFFFF

Listing = Mapping[str, os.stat_result]


def packed_status(status: os.stat_result) -> bytes:
    """Pack what identifies a state of a file: mode, size, times of content and inode, inode.

    The number of its names as well, but for directories, where it tells of what is in them.
    """
    mode = status.st_mode
    links = 0 if S_ISDIR(mode) else min(status.st_nlink, _MAX_LINKS)
    return _STATUS.pack(
        mode | links << _LINKS_AT,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )


class Folder:
    """The names in a directory, separated by NUL, and their packed statuses in the same order."""

    def __init__(self, found: Listing | None, names: bytes = b"", statuses: bytes = b"") -> None:
        """Take a listing as it is at hand, or else packed."""
        self._found = found
        self._packed = None if found is not None else (names, statuses)

    @property
    def names(self) -> bytes:
        """The names, separated by NUL."""
        return self._pack()[0]

    @property
    def statuses(self) -> bytes:
        """The packed statuses."""
        return self._pack()[1]

    @property
    def is_plain(self) -> bool:
        """Whether the packed form tells all that a copy needs.

        It does not of files with several names, nor of devices and the like.
        """
        return all(_is_plain(word) for word, *_ in _STATUS.iter_unpack(self.statuses))

    def listing(self, device: int) -> Listing:
        """Give names with statuses; `device` is what of these is not packed."""
        if self._found is None:
            names = decoded(self.names)
            statuses = (_unpacked(one, device) for one in _STATUS.iter_unpack(self.statuses))
            self._found = dict(zip(names, statuses, strict=True))
        return self._found

    def split(self) -> list[tuple[bytes, bytes]]:
        """Give names and packed statuses in pairs."""
        names, statuses = self._pack()
        starts = range(0, len(statuses), STATUS_BYTES)
        files = [statuses[start : start + STATUS_BYTES] for start in starts]
        return list(zip(names.split(b"\0") if names else [], files, strict=True))

    def _pack(self) -> tuple[bytes, bytes]:
        if self._packed is None:
            assert self._found is not None  # noqa: S101 - narrows the type
            names = encoded(self._found)
            self._packed = names, b"".join(map(packed_status, self._found.values()))
        return self._packed


def listed(fd: int) -> Folder:
    """List a directory; what vanishes meanwhile is left out. Raises OSError."""
    found: dict[str, os.stat_result] = {}
    stat = os.stat
    for name in bytewise(os.listdir(fd)):
        try:
            found[name] = stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:  # somebody works in the context
            continue
    return Folder(found)


def _is_plain(word: int) -> bool:
    mode = word & _MODE
    if S_ISREG(mode):
        return word >> _LINKS_AT == 1
    return S_ISDIR(mode) or S_ISLNK(mode)


def _unpacked(fields: tuple[int, int, int, int, int], device: int) -> os.stat_result:
    word, size, mtime_ns, ctime_ns, inode = fields
    seconds = (0, mtime_ns // 10**9, ctime_ns // 10**9)
    return os.stat_result(
        (word & _MODE, inode, device, word >> _LINKS_AT or 1, 0, 0, size, *seconds),
        {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns, "st_rdev": 0},
    )
