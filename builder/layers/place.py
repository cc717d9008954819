"""Put the members of an archive below a directory, and nowhere else.

Names with `..` are refused, absolute ones begin at the directory. A member's parent is resolved
inside the directory, links included, and then used by its descriptor. Whatever a member replaces
is removed first, but for a directory that stays one. Directories get their attributes last, when
nothing will be made in them any more.
"""

import os
from collections.abc import Callable
from errno import ENOENT, ENOTDIR
from stat import S_IFCHR, S_ISDIR, S_ISREG
from typing import Self, TypeVar

from builder.errors import InvalidImage, KernelError
from builder.kernel import xattr
from builder.kernel.owner import change_owner, change_owner_at
from builder.kernel.paths import make_dirs, open_in_root, open_nofollow, open_parent
from builder.kernel.trees import remove_tree
from builder.kernel.umask import read_umask
from builder.layers.tar import Entry
from builder.layers.tarreader import Reader

HARMLESS_DEVICES = frozenset({(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)})
"""null, zero, full, random, urandom, tty, console, ptmx: character devices that images ship."""

T = TypeVar("T")

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORIES = 64
_SMALL_BYTES = 1 << 20
_SPECIAL_BITS = 0o7000


class Placer:
    """Unpacks members below one directory; a context manager that closes what it has open."""

    def __init__(
        self,
        root_fd: int,
        *,
        can_mknod: bool,
        owner: tuple[int, int] | None = None,
        is_merging: bool = False,
    ) -> None:
        """Unpack into `root_fd`, which stays the caller's.

        `owner` replaces that of every member. With `is_merging` there may be files already.
        """
        self._root_fd = root_fd
        self._can_mknod = can_mknod
        self._owner = owner
        self._is_merging = is_merging
        self._masked = read_umask() | _SPECIAL_BITS
        self._open: dict[str, int] = {}
        self._described: dict[str, Entry] = {}
        self.implied: dict[str, None] = {"": None}
        """Directories that exist only because something is in them; the root is named ''."""
        self.skipped: list[str] = []
        """Devices that were not made."""
        self.placed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._close()

    def place(self, entry: Entry, reader: Reader) -> None:
        """Unpack a member, with its content from the reader; raise KernelError."""
        path = _normal(entry.name)
        if self._owner is not None:
            entry = entry._replace(uid=self._owner[0], gid=self._owner[1])
        self.placed += 1
        if entry.kind == "directory":
            self._place_directory(path, entry)
            return
        dir_fd, name = self._parent(path)
        try:
            match entry.kind:
                case "file":
                    self._place_file(dir_fd, name, entry, reader)
                case "symlink":
                    self._place_symlink(dir_fd, name, entry)
                case "hardlink":
                    self._place_link(dir_fd, name, entry)
                case _:
                    self._place_special(dir_fd, name, entry)
        except OSError as error:
            raise KernelError(entry.kind, error.errno or 0, entry.name) from None

    def directory(self, path: str) -> int:
        """Find a directory, making it and its parents if need be; its descriptor stays ours."""
        return self._directory(_normal(path))

    def parent(self, path: str) -> tuple[int, str]:
        """Find the directory that holds a path, and its last name."""
        return self._parent(_normal(path))

    def finish(self) -> None:
        """Give the directories their attributes; to be called once, when all is unpacked."""
        self._close()
        for path, entry in self._described.items():
            try:
                fd = open_nofollow(self._root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
            except KernelError as error:
                if error.errno in (ENOENT, ENOTDIR):
                    continue
                raise
            try:
                change_owner(fd, entry.uid, entry.gid)
                os.fchmod(fd, entry.mode_bits)
                xattr.set_all(fd, xattr.portable(entry.xattrs))
                os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
            finally:
                os.close(fd)

    def _parent(self, path: str) -> tuple[int, str]:
        directory, _, name = path.rpartition("/")
        if not name:
            raise InvalidImage("the archive replaces its own root")
        return self._directory(directory), name

    def _directory(self, path: str) -> int:
        fd = self._open.get(path) if path else self._root_fd
        if fd is not None:
            return fd
        fd = self._entered(path)
        if fd is None:
            fd = self._reached(path)
        if len(self._open) >= _OPEN_DIRECTORIES:
            oldest = next(iter(self._open))
            os.close(self._open.pop(oldest))
        self._open[path] = fd
        return fd

    def _entered(self, path: str) -> int | None:
        """Open a directory from its parent, if that is open and this no link."""
        parent, _, name = path.rpartition("/")
        parent_fd = self._open.get(parent) if parent else self._root_fd
        if parent_fd is None:
            return None
        try:
            return os.open(name, _PATH, dir_fd=parent_fd)
        except OSError as error:
            if error.errno in (ENOENT, ENOTDIR):
                return None
            raise KernelError("open", error.errno or 0, path) from None

    def _place_directory(self, path: str, entry: Entry) -> None:
        if not path:
            if not self._is_merging:
                self._described[""] = entry
                self.implied.pop("", None)
            return
        dir_fd, name = self._parent(path)
        try:
            os.mkdir(name, 0o755, dir_fd=dir_fd)
        except FileExistsError:
            if not S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
                self._remove(dir_fd, name, path)
                os.mkdir(name, 0o755, dir_fd=dir_fd)
        except OSError as error:
            raise KernelError("mkdir", error.errno or 0, path) from None
        self._described.pop(path, None)
        self._described[path] = entry
        self.implied.pop(path, None)

    def _place_file(self, dir_fd: int, name: str, entry: Entry, reader: Reader) -> None:
        mode_bits = entry.mode_bits
        fd = self._made(
            lambda: os.open(name, _CREATE, mode_bits, dir_fd=dir_fd), dir_fd, name, entry
        )
        try:
            if entry.size_bytes > _SMALL_BYTES:
                reader.copy_to(fd)
            elif entry.size_bytes:
                content = reader.content()
                written = os.write(fd, content)
                while written < len(content):
                    written += os.write(fd, content[written:])
            if entry.uid or entry.gid or self._is_merging:
                self._chown(fd, entry)
            if mode_bits & self._masked:
                os.fchmod(fd, mode_bits)
            if entry.xattrs:
                xattr.set_all(fd, xattr.portable(entry.xattrs))
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _place_symlink(self, dir_fd: int, name: str, entry: Entry) -> None:
        if not entry.link_name:
            raise InvalidImage(f"{entry.name!r} is a link to nothing")
        self._made(lambda: os.symlink(entry.link_name, name, dir_fd=dir_fd), dir_fd, name, entry)
        self._finish_at(dir_fd, name, entry)

    def _place_link(self, dir_fd: int, name: str, entry: Entry) -> None:
        """Link to a regular file that is there already, never through a link."""
        try:
            target_fd, target = open_parent(self._root_fd, _normal(entry.link_name))
        except KernelError:
            raise _no_target(entry) from None
        try:
            status = os.stat(target, dir_fd=target_fd, follow_symlinks=False)
            if not S_ISREG(status.st_mode):
                raise _no_target(entry)
            if _identity(dir_fd, name) == (status.st_dev, status.st_ino):
                return
            self._made(
                lambda: os.link(
                    target, name, src_dir_fd=target_fd, dst_dir_fd=dir_fd, follow_symlinks=False
                ),
                dir_fd,
                name,
                entry,
            )
        except FileNotFoundError:
            raise _no_target(entry) from None
        finally:
            os.close(target_fd)
        if self._is_merging:  # as the reference: the member's own attributes, for all names
            self._finish_at(dir_fd, name, entry)

    def _place_special(self, dir_fd: int, name: str, entry: Entry) -> None:
        if entry.kind == "char" and entry.device == (0, 0):
            raise InvalidImage(f"{entry.name!r} is overlayfs's own mark of a deletion")
        if entry.kind == "fifo":
            self._made(lambda: os.mkfifo(name, 0o600, dir_fd=dir_fd), dir_fd, name, entry)
        elif self._can_mknod and entry.kind == "char" and entry.device in HARMLESS_DEVICES:
            device = os.makedev(*entry.device)
            mode = S_IFCHR | 0o600
            self._made(lambda: os.mknod(name, mode, device, dir_fd=dir_fd), dir_fd, name, entry)
        else:
            self.skipped.append(entry.name)
            return
        self._finish_at(dir_fd, name, entry)

    def _finish_at(self, dir_fd: int, name: str, entry: Entry) -> None:
        """Set what a link or a special file has; neither is opened."""
        if entry.uid or entry.gid or self._is_merging:
            change_owner_at(dir_fd, name, entry.uid, entry.gid)
        if entry.kind != "symlink":  # made a moment ago in a directory of ours: no link
            os.chmod(name, entry.mode_bits, dir_fd=dir_fd)
        times = (entry.mtime_ns, entry.mtime_ns)
        os.utime(name, ns=times, dir_fd=dir_fd, follow_symlinks=False)

    def _chown(self, fd: int, entry: Entry) -> None:
        try:
            os.fchown(fd, entry.uid, entry.gid)
        except OSError:
            change_owner(fd, entry.uid, entry.gid)

    def _made(self, make: Callable[[], T], dir_fd: int, name: str, entry: Entry) -> T:
        """Make a file, after removing what is in its place."""
        try:
            return make()
        except FileExistsError:
            self._remove(dir_fd, name, _normal(entry.name))
            return make()

    def _remove(self, dir_fd: int, name: str, path: str) -> None:
        """Remove what a member replaces, and forget what was known about it and below it."""
        remove_tree(dir_fd, name)
        below = f"{path}/"
        for known in [p for p in self._described if p == path or p.startswith(below)]:
            del self._described[known]
        for known in [p for p in self.implied if p == path or p.startswith(below)]:
            del self.implied[known]
        for known in [p for p in self._open if p == path or p.startswith(below)]:
            os.close(self._open.pop(known))

    def _reached(self, path: str) -> int:
        """Open a directory through links, or make it: 0755 and root's."""
        parts = path.split("/")
        for count in range(len(parts), -1, -1):
            try:
                fd = open_in_root(
                    self._root_fd, "/".join(parts[:count]), os.O_PATH | os.O_DIRECTORY
                )
            except KernelError as error:
                if error.errno == ENOTDIR:
                    raise InvalidImage(
                        f"{path!r} leads through a file that is no directory"
                    ) from None
                if error.errno != ENOENT:
                    raise
                continue
            if count == len(parts):
                return fd
            os.close(fd)
            break
        else:
            count = 0
        for end in range(count + 1, len(parts) + 1):
            self.implied["/".join(parts[:end])] = None
        uid, gid = self._owner or (0, 0)
        return make_dirs(self._root_fd, path, uid=uid, gid=gid)

    def _close(self) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open.clear()


def _normal(path: str) -> str:
    """Clean a member's name; refuse one that goes up."""
    if (
        path.startswith(("/", "./"))
        or "//" in path
        or "/." in path
        or path in {"", "."}
        or path.endswith("/")
    ):
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise InvalidImage(f"{path!r} leaves the archive's root")
        return "/".join(parts)
    if path == ".." or path.startswith("../"):
        raise InvalidImage(f"{path!r} leaves the archive's root")
    return path


def _no_target(entry: Entry) -> InvalidImage:
    return InvalidImage(
        f"{entry.name!r} is a hard link to {entry.link_name!r}, which is no file in this archive"
    )


def _identity(dir_fd: int, name: str) -> tuple[int, int] | None:
    try:
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
