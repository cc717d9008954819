"""What differs between two trees, written down as overlayfs would have: the changed entries.

Metadata decides first; where it is equal, the bytes do, because a program may set times back.
Everything in `diff` is a hard link to the newer tree, a directory, or a whiteout.
"""

import os
from stat import S_IFCHR, S_ISDIR, S_ISLNK, S_ISREG

from builder.kernel import xattr
from builder.kernel.trees import Cursor
from builder.store import merging

_PIECE_BYTES = 1 << 20
_WHITEOUT = "user.overlay.whiteout"


def compare(old: str, new: str, diff: str, *, userxattr: bool) -> None:
    """Fill the empty directory `diff` with what changed from the old tree to the new."""
    with merging.opened(old) as before, merging.opened(new) as after, merging.opened(diff) as out:
        _Comparison(before, after, out, userxattr=userxattr).run()


class _Comparison:
    """Three positions, moving together; directories of `diff` are made when something is in them.

    `_missing` names the directories between where `diff` is and where the trees are.
    """

    def __init__(self, before: Cursor, after: Cursor, out: Cursor, *, userxattr: bool) -> None:
        self._before = before
        self._after = after
        self._out = out
        self._userxattr = userxattr
        self._missing: list[str] = []

    def run(self) -> None:
        frames = [(self._names(is_old=True), True)]
        while frames:
            names, is_old = frames[-1]
            if names:
                name = names.pop()
                entered = self._visit(name, is_old=is_old)
                if entered is not None:
                    frames.append((self._names(is_old=entered), entered))
                continue
            frames.pop()
            self._finish(is_root=not frames, is_old=is_old)

    def _names(self, *, is_old: bool) -> list[str]:
        names = set(os.listdir(self._after.fd))
        if is_old:
            names.update(os.listdir(self._before.fd))
        return sorted(names, reverse=True)

    def _visit(self, name: str, *, is_old: bool) -> bool | None:
        """Compare one entry; for a directory, enter it and say whether it is an old one too."""
        old = _status(self._before.fd, name) if is_old else None
        new = _status(self._after.fd, name)
        if new is None:
            self._materialize()
            self._whiteout(name)
            return None
        if S_ISDIR(new.st_mode):
            return self._enter(name, old, new)
        if old is None or self._differs(name, old, new):
            self._materialize()
            os.link(
                name, name, src_dir_fd=self._after.fd, dst_dir_fd=self._out.fd,
                follow_symlinks=False,
            )  # fmt: skip
        return None

    def _enter(self, name: str, old: os.stat_result | None, new: os.stat_result) -> bool:
        is_same = old is not None and _metadata(old) == _metadata(new)
        self._after.enter(name)
        is_old = old is not None and S_ISDIR(old.st_mode) and self._before.enter(name)
        self._missing.append(name)
        if not is_same or xattr.get_all(self._before.fd) != xattr.get_all(self._after.fd):
            self._materialize()
        return is_old

    def _finish(self, *, is_root: bool, is_old: bool) -> None:
        if self._missing:
            self._missing.pop()
        else:
            merging.copy_attributes(self._after.fd, self._out.fd)
            merging.copy_times(self._after.fd, self._out.fd)
            if not is_root:
                self._out.leave()
        if not is_root:
            self._after.leave()
            if is_old:
                self._before.leave()

    def _materialize(self) -> None:
        """Make the directories of `diff` down to where the trees are; _finish dresses them."""
        for name in self._missing:
            os.mkdir(name, 0o700, dir_fd=self._out.fd)
            self._out.enter(name)
        self._missing.clear()

    def _whiteout(self, name: str) -> None:
        try:
            os.mknod(name, S_IFCHR, 0, dir_fd=self._out.fd)
        except PermissionError:
            if not self._userxattr:
                raise
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            fd = os.open(name, flags, 0o600, dir_fd=self._out.fd)
            try:
                os.setxattr(fd, _WHITEOUT, b"y")
            finally:
                os.close(fd)

    def _differs(self, name: str, old: os.stat_result, new: os.stat_result) -> bool:
        if os.path.samestat(old, new):
            return False
        if _metadata(old) != _metadata(new):
            return True
        before, after = self._before.fd, self._after.fd
        if S_ISLNK(new.st_mode):
            return os.readlink(name, dir_fd=before) != os.readlink(name, dir_fd=after)
        if xattr.get_all(f"/proc/self/fd/{before}/{name}") != xattr.get_all(
            f"/proc/self/fd/{after}/{name}"
        ):
            return True
        return S_ISREG(new.st_mode) and _bytes_differ(before, after, name)


def _metadata(status: os.stat_result) -> tuple[int, ...]:
    """Pick what makes two entries differ; a directory's size says nothing."""
    size = 0 if S_ISDIR(status.st_mode) else status.st_size
    return (
        status.st_mode, status.st_uid, status.st_gid, status.st_rdev, status.st_mtime_ns, size,
    )  # fmt: skip


def _status(dir_fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _bytes_differ(before_fd: int, after_fd: int, name: str) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    before = os.open(name, flags, dir_fd=before_fd)
    try:
        after = os.open(name, flags, dir_fd=after_fd)
        try:
            while True:
                left, right = os.read(before, _PIECE_BYTES), os.read(after, _PIECE_BYTES)
                if left != right:
                    return True
                if not left:
                    return False
        finally:
            os.close(after)
    finally:
        os.close(before)
