"""A directory copied again where an earlier copy of it already is: only what differs is written.

It comes to what a copy onto the bare base would come to. Where that is not certain nothing more is
done, and the caller throws away what there is: a deleted path that the base has as well, a file
where a directory was, files with several names.
"""

import os
from collections.abc import Sequence

from builder.errors import KernelError
from builder.graph.ops import Copy
from builder.graph.vertex import Selector
from builder.kernel.paths import open_nofollow
from builder.layers.checksum import Checksums
from builder.layers.duplicate import Duplicator
from builder.layers.made import Made, is_directory, kind_of, recorded
from builder.layers.names import is_in, joined
from builder.layers.newfile import Metadata
from builder.layers.tree import Node

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_MAX_PART = 8
"""With more than an eighth of the paths changed, a whole copy is better."""


class Patch:
    """One copy of a directory onto an earlier copy; `earlier` tells what that one came to."""

    def __init__(
        self,
        action: Copy,
        source: Checksums,
        root_fd: int,
        *,
        metadata: Metadata,
        can_mknod: bool,
        place: str,
        earlier: Made,
    ) -> None:
        """Look at the source; `place` is where the copy is in the mounted root, a plain path."""
        self._source = source
        self._root_fd = root_fd
        self._place = place
        self._earlier = earlier
        exclude = source.compile_patterns(action.exclude) if action.exclude else None
        self._duplicator = Duplicator(source, metadata, can_mknod=can_mknod, dest=action.dest)
        selector = Selector(action.source, exclude=action.exclude, is_required=action.is_required)
        (node,) = source.selected(selector)
        top = source.followed(node)
        assert top is not None  # noqa: S101 - it was digested
        self._top = top
        self.made = Made()
        if top.is_directory:
            self.made = recorded(source, top, exclude, metadata, earlier)
        self._now, self._before = self._differing()

    def apply(self, bases: Sequence[str]) -> bool:
        """Write what differs; False if that is not enough. `bases` are the base's directories."""
        now, before = self._now, self._before
        changed = [path for path, record in now.items() if before.get(path) != record]
        gone = [path for path in before if path not in now]
        if not self._is_possible(changed, gone, bases):
            return False
        for path in reversed(gone):  # what is in a directory before itself
            if not self._remove(path, is_directory=is_directory(before[path])):
                return False
        for path in changed:
            self._write(path)
        self._finish({path for path in changed if is_directory(now[path])}, changed + gone)
        return True

    def _differing(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        """Give the records, now and before, of the directories that are not what they were."""
        now, before = self.made.folders, self._earlier.folders
        differing = [path for path in {**before, **now} if now.get(path) != before.get(path)]
        return self.made.records_of(differing), self._earlier.records_of(differing)

    def _is_possible(self, changed: list[str], gone: list[str], bases: Sequence[str]) -> bool:
        now, before, count = self._now, self._before, self._earlier.count
        if not count or self.made.has_odd or (len(changed) + len(gone)) * _MAX_PART > count:
            return False
        kinds = ((now[path], before[path]) for path in changed if path in before)
        if any(kind_of(new) != kind_of(old) for new, old in kinds):
            return False
        return not any(is_in(base, joined(self._place, path)) for path in gone for base in bases)

    def _remove(self, path: str, *, is_directory: bool) -> bool:
        dir_fd, name = self._opened(path)
        try:
            if is_directory:
                os.rmdir(name, dir_fd=dir_fd)
            else:
                os.unlink(name, dir_fd=dir_fd)
        except OSError:  # something is in it that this step did not copy
            return False
        finally:
            os.close(dir_fd)
        return True

    def _write(self, path: str) -> None:
        """Make or replace one path; directories get their attributes in the end."""
        dir_fd, name = self._opened(path)
        try:
            if not is_directory(self._now[path]):
                self._duplicator.copy_file(self._node(path), dir_fd, name)
            elif path not in self._before:
                os.mkdir(name, 0o700, dir_fd=dir_fd)
        except OSError as error:
            raise KernelError("mkdir", error.errno or 0, f"/{self._place}/{path}") from None
        finally:
            os.close(dir_fd)

    def _finish(self, directories: set[str], touched: list[str]) -> None:
        """Give directories their attributes and, where something in them changed, their time."""
        parents = {path.rpartition("/")[0] for path in touched}
        for path in sorted(directories | parents, reverse=True):
            fd = open_nofollow(self._root_fd, joined(self._place, path), _DIRECTORY)
            try:
                node = self._node(path)
                self._duplicator.finish(fd, node, is_dressed=path in directories)
            finally:
                os.close(fd)
        if "" not in parents:
            self._stamp_top()

    def _stamp_top(self) -> None:
        fd = open_nofollow(self._root_fd, self._place, _DIRECTORY)
        try:
            if os.fstat(fd).st_mtime_ns != self._top.status.st_mtime_ns:
                self._duplicator.finish(fd, self._top, is_dressed=False)
        finally:
            os.close(fd)

    def _node(self, path: str) -> Node:
        if not path:
            return self._top
        node = self._source.tree.find(joined(self._top.path, path), follow_last=False)
        assert node is not None  # noqa: S101 - it was met on the walk
        return node

    def _opened(self, path: str) -> tuple[int, str]:
        """Open the directory of a path below the place."""
        directory, _, name = joined(self._place, path).rpartition("/")
        return open_nofollow(self._root_fd, directory, _DIRECTORY), name
