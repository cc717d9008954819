"""What an overlay upper directory changed over its lowers, as tar members in the reference's order.

The walk is depth first, names sorted in every directory. A directory that only leads to a change
is a member too; one without any is not, nor is a file that equals the one it hides. An opaque
directory, whose lower children are all gone, is told by a whiteout for each of them.

Spec: OCI image-spec, layer.md; overlayfs.rst, "whiteouts and opaque directories".
"""

import os
from collections.abc import Iterable, Iterator, Sequence

from builder.errors import InvalidImage, KernelError
from builder.kernel import xattr
from builder.kernel.trees import Cursor
from builder.layers.inode import Inode, has_equal_content, inode_at
from builder.layers.names import bytewise
from builder.layers.tar import WHITEOUT_PREFIX, Entry
from builder.values import NamedTuple


class Change(NamedTuple):
    """A member of the layer; `fd` gives a regular file's content, until the next change is asked.

    It is -1 for everything else; the iterator closes it.
    """

    entry: Entry
    fd: int


class _Frame:
    """A directory on the way from the root to the present one."""

    __slots__ = ("entry", "is_opaque", "lowers", "names", "prefix")

    def __init__(self, prefix: str, lowers: list[Cursor], *, is_opaque: bool) -> None:
        self.prefix = prefix
        self.lowers = lowers
        """Lower directories that this one hides or merges with, top first."""
        self.is_opaque = is_opaque
        self.names: Iterator[str] = iter(())
        self.entry: Entry | None = None
        """The directory's own member, as long as it is unchanged and nothing below it is told."""


def changes(
    upper: str,
    lowers: Sequence[str],
    *,
    userxattr: bool,
    is_whole: bool = False,
    is_patch: bool = False,
) -> Iterator[Change]:
    """Compare an upper directory with its lowers, top first, which nobody may be writing to.

    `is_whole` says that it is a finished tree: what it does not have is deleted. `is_patch` says
    that it corrects a tree that is not looked at: all it has is told, deletions too.

    With `userxattr`, overlayfs's marks are in user.overlay.*, and owners that could not be set are
    beside the files. Raises InvalidImage for a name that would be a whiteout.
    """
    cursors: list[Cursor] = []
    try:
        upper_cursor = _opened(upper, kept=16)
        cursors.append(upper_cursor)
        cursors.extend(_opened(lower, kept=0) for lower in lowers)
        diff = _Diff(upper_cursor, cursors[1:], userxattr=userxattr, is_whole=is_whole)
        diff.is_patch = is_patch
        yield from diff
    finally:
        for cursor in cursors:
            cursor.close()


class _Diff:
    """The walk over one upper directory."""

    def __init__(
        self, cursor: Cursor, lowers: list[Cursor], *, userxattr: bool, is_whole: bool
    ) -> None:
        self._cursor = cursor
        self._userxattr = userxattr
        self.is_patch = False
        self._has_untold = False
        """Whether a directory on the way has not been told yet."""
        self._linked: dict[int, str] = {}
        is_opaque = is_whole or xattr.is_opaque(cursor.fd, userxattr=userxattr)
        root = _Frame("", lowers, is_opaque=is_opaque)
        root.names = self._names(root)
        self._frames = [root]

    def __iter__(self) -> Iterator[Change]:
        frames = self._frames
        while frames:
            frame = frames[-1]
            for name in frame.names:
                change = self._change(frame, name)
                if change is not None:
                    if self._has_untold:
                        yield from self._told(change.entry)
                    try:
                        yield change
                    finally:
                        if change.fd >= 0:
                            os.close(change.fd)
                if frames[-1] is not frame:
                    break
            else:
                self._leave()

    def _told(self, last: Entry) -> Iterator[Change]:
        """Tell the directories on the way to a change that has been found."""
        self._has_untold = False
        for frame in self._frames:
            if frame.entry is not None and frame.entry is not last:
                yield Change(frame.entry, -1)
                frame.entry = None

    def _change(self, frame: _Frame, name: str) -> Change | None:
        """Tell what became of one name; of a directory, enter it as well."""
        inode = inode_at(self._cursor.fd, name, userxattr=self._userxattr)
        if inode is None or inode.is_whiteout:
            lower = _lower(frame.lowers, name, userxattr=self._userxattr)
            if lower is None and not self.is_patch:
                return None
            if lower is not None:
                lower.close()
            return Change(Entry(f"{frame.prefix}{WHITEOUT_PREFIX}{name}", mode_bits=0), -1)
        if name.startswith(WHITEOUT_PREFIX):
            inode.close()
            raise InvalidImage(
                f"/{frame.prefix}{name} cannot be in a layer: its name means a deletion",
                fix=f"remove or rename files that begin with {WHITEOUT_PREFIX}",
            )
        if inode.kind == "directory":
            return self._enter(frame, name, inode)
        if inode.kind is None or (frame.lowers and self._is_unchanged(frame, name, inode)):
            inode.close()
            return None
        return self._file(frame.prefix + name, inode)

    def _file(self, path: str, inode: Inode) -> Change:
        status = inode.status
        if status.st_nlink > 1 and inode.kind == "file":
            first = self._linked.setdefault(status.st_ino, path)
            if first is not path:
                inode.close()
                entry = inode.entry(path)._replace(
                    kind="hardlink", size_bytes=0, link_name=first, xattrs=()
                )
                return Change(entry, -1)
        return Change(inode.entry(path), inode.fd)

    def _enter(self, frame: _Frame, name: str, inode: Inode) -> Change | None:
        lowers, base = self._entered_lowers(frame, name)
        if not self._cursor.enter(name):
            raise KernelError("open", 0, frame.prefix + name)
        child = _Frame(
            f"{frame.prefix}{name}/", lowers, is_opaque=frame.is_opaque or inode.is_opaque
        )
        child.names = self._names(child)
        self._frames.append(child)
        entry = inode.entry(frame.prefix + name)
        if base is not None and inode.has_equal_metadata(base):
            child.entry = entry
            self._has_untold = True
            return None
        return Change(entry, -1)

    def _entered_lowers(self, frame: _Frame, name: str) -> tuple[list[Cursor], Inode | None]:
        """Enter the directories that one of the upper's merges with, and look at the topmost."""
        entered: list[Cursor] = []
        base = None
        for cursor in frame.lowers:
            inode = inode_at(cursor.fd, name, userxattr=self._userxattr)
            if inode is None:
                continue
            inode.close()
            if inode.kind != "directory" or not cursor.enter(name):
                break
            base = base or inode
            entered.append(cursor)
            if inode.is_opaque:
                break
        return entered, base

    def _is_unchanged(self, frame: _Frame, name: str, inode: Inode) -> bool:
        base = _lower(frame.lowers, name, userxattr=self._userxattr)
        if base is None:
            return False
        try:
            return inode.has_equal_metadata(base) and has_equal_content(inode, base)
        finally:
            base.close()

    def _names(self, frame: _Frame) -> Iterator[str]:
        names: Iterable[str] = os.listdir(self._cursor.fd)
        if frame.is_opaque:
            lower_names = (name for cursor in frame.lowers for name in os.listdir(cursor.fd))
            names = {*names, *lower_names}
        return iter(bytewise(names))

    def _leave(self) -> None:
        frame = self._frames.pop()
        if self._frames:
            self._cursor.leave()
            for cursor in frame.lowers:
                cursor.leave()


def _lower(lowers: list[Cursor], name: str, *, userxattr: bool) -> Inode | None:
    """Look a name up in the lower directories: what the upper one hides, if anything."""
    for cursor in lowers:
        inode = inode_at(cursor.fd, name, userxattr=userxattr)
        if inode is not None:
            if not inode.is_whiteout:
                return inode
            inode.close()
            return None
    return None


def _opened(directory: str, *, kept: int) -> Cursor:
    """Open a layer's directory: a path of ours."""
    try:
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", error.errno or 0, directory) from None
    try:
        return Cursor(fd, kept=kept)
    finally:
        os.close(fd)
