"""Files that a copy need not make: an equal one, in a committed snapshot, gets one more name.

Committed files never change, and overlayfs breaks a link before it writes, so that a file may be in
many snapshots. Linking is possible only from directory to directory of one file system: it is tried
where the copy writes to its layer itself, and whatever fails is copied.
"""

import os
from collections.abc import Sequence
from stat import S_IMODE
from typing import Protocol

from builder.errors import KernelError
from builder.kernel.paths import open_nofollow
from builder.layers.checksum import Checksums
from builder.layers.made import ODD, Made, recorded
from builder.layers.newfile import Metadata
from builder.layers.tree import Matcher, Node, Visit

_DIRECTORY = os.O_PATH | os.O_DIRECTORY


class Reuse(Protocol):
    """Somewhere to link files from."""

    def begin(self, place: str, top: Node, exclude: Matcher | None, metadata: Metadata) -> None:
        """Hear what is about to be copied where, a path from the root."""
        ...

    def link(
        self,
        visit: Visit,
        path: str,
        place: tuple[int, str],
        *,
        owner: tuple[int, int],
        bits: int,
    ) -> bool:
        """Link a regular file to a name in a directory; False if it has to be copied.

        `path` is that below the copied directory; owner and bits are those the copy would get.
        """
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Earlier:
    """Links what the same step made before of files that are still equal."""

    def __init__(self, source: Checksums, tops: Sequence[str], earlier: Made) -> None:
        """Know what was made at some absolute paths, of which the first that has a file counts."""
        self._source = source
        self._tree = _Directory(tops)
        self._earlier = earlier
        self.made = Made()
        self.top = ""
        """Where the copied directory goes, from the root."""

    def begin(self, place: str, top: Node, exclude: Matcher | None, metadata: Metadata) -> None:
        """Record what the copy will come to."""
        self.top = place
        self.made = recorded(self._source, top, exclude, metadata, self._earlier)

    def link(
        self,
        visit: Visit,
        path: str,
        place: tuple[int, str],
        *,
        owner: tuple[int, int],
        bits: int,
    ) -> bool:
        """Link an equal file; see Reuse."""
        del visit, owner, bits  # they are in the record
        record = self.made.records[path]
        if record == ODD or self._earlier.records.get(path) != record:
            return False
        directory, _, name = path.rpartition("/")
        return any(_linked(fd, name, place) for _, fd in self._tree.opened(directory))

    def close(self) -> None:
        """Close what is open."""
        self._tree.close()


class Lowers:
    """Links files of a stage from the layers that hold them."""

    def __init__(self, layers: Sequence[tuple[str, bool]]) -> None:
        """Look for files in directories of layers, top first, and link them from some."""
        self._tree = _Directory([path for path, _ in layers])
        self._is_linkable = [is_linkable for _, is_linkable in layers]
        self.used: set[int] = set()
        """The positions of layers that files were linked from."""

    def begin(self, place: str, top: Node, exclude: Matcher | None, metadata: Metadata) -> None:
        """Nothing is to be known; see Reuse."""

    def link(
        self,
        visit: Visit,
        path: str,
        place: tuple[int, str],
        *,
        owner: tuple[int, int],
        bits: int,
    ) -> bool:
        """Link the file itself if the copy is to be like it; see Reuse.

        Attributes that a copy would not have stay: they mean nothing here, since overlayfs's
        `metacopy` is off, and no layer shows them.
        """
        del path
        status = visit.status
        if owner != (status.st_uid, status.st_gid) or bits != S_IMODE(status.st_mode):
            return False
        directory = visit.path[: -len(visit.name) - 1]
        for position, fd in self._tree.opened(directory):
            # The file is visible, so the topmost layer with this name is where it is.
            if not self._is_linkable[position]:
                if _exists(fd, visit.name):
                    return False
            elif _linked(fd, visit.name, place):
                self.used.add(position)
                return True
        return False

    def close(self) -> None:
        """Close what is open."""
        self._tree.close()


class _Directory:
    """One directory at a time of several trees."""

    def __init__(self, tops: Sequence[str]) -> None:
        self._tops = [os.open(top, _DIRECTORY | os.O_CLOEXEC) for top in tops]
        self._path: str | None = None
        self._fds: list[tuple[int, int]] = []

    def opened(self, path: str) -> list[tuple[int, int]]:
        """Open a directory wherever it is; with the position of each tree."""
        if path != self._path:
            self._forget()
            for position, top in enumerate(self._tops):
                try:
                    self._fds.append((position, open_nofollow(top, path, _DIRECTORY)))
                except KernelError:
                    continue
            self._path = path
        return self._fds

    def close(self) -> None:
        """Close everything."""
        self._forget()
        while self._tops:
            os.close(self._tops.pop())

    def _forget(self) -> None:
        self._path = None
        while self._fds:
            os.close(self._fds.pop()[1])


def _exists(dir_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _linked(source_fd: int, name: str, place: tuple[int, str]) -> bool:
    dir_fd, new = place
    try:
        os.link(name, new, src_dir_fd=source_fd, dst_dir_fd=dir_fd, follow_symlinks=False)
    except OSError:  # not there, another file system, or too many names already
        return False
    return True
