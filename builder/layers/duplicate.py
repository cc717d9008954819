"""Duplicate files of a tree in another directory, with the metadata that a copy is to have.

Directories get their attributes when everything in them is there. Where the tree was digested
before, each file is checked to be still what was digested: by its status when that settles it, else
by reading what was written.
"""

import os
from collections.abc import Callable
from stat import S_IFCHR, S_ISCHR, S_ISFIFO, S_ISGID, S_ISLNK, S_ISREG, S_ISSOCK
from typing import TypeVar

from builder.errors import BuilderError, Conflict, KernelError
from builder.kernel import xattr
from builder.kernel.owner import change_owner, change_owner_at, kept_owner
from builder.kernel.paths import open_nofollow
from builder.kernel.trees import Cursor
from builder.kernel.umask import read_umask
from builder.layers.checksum import Checksums
from builder.layers.direct import Position, Upper
from builder.layers.folder import packed_status
from builder.layers.memo import content_digest
from builder.layers.newfile import CREATE, Metadata, copy_bytes, made
from builder.layers.place import HARMLESS_DEVICES
from builder.layers.reuse import Reuse
from builder.layers.tree import Matcher, Node, Visit

T = TypeVar("T")

_SPECIAL_BITS = 0o7000


class Duplicator:
    """Copies from one tree into one mounted root."""

    def __init__(
        self, source: Checksums, metadata: Metadata, *, can_mknod: bool, dest: str
    ) -> None:
        """Copy nodes of `source`; `dest` is for messages."""
        self._source = source
        self._dest = dest.rstrip("/")
        self._links: dict[int, str] = {}
        self._masked = read_umask() | _SPECIAL_BITS
        self._inherits_group = True
        self.upper: Upper | None = None
        """Given where the layer itself may be written to."""
        self.reuse: Reuse | None = None
        """What it offers need not be copied."""
        self.metadata = metadata
        self.can_mknod = can_mknod
        self.entries = 0
        self.bytes = 0
        self.warnings: list[str] = []

    def copy_content(self, top: Node, dest_fd: int, exclude: Matcher | None) -> None:
        """Copy what is in a directory into another, which keeps its mode and takes the time."""
        with Cursor(dest_fd) as cursor:
            position = Position(cursor, self.upper)
            if self.upper is not None and self.reuse is not None:
                self.reuse.begin(self.upper.path(dest_fd), top, exclude, self.metadata)
            if self.upper is not None and not os.listdir(dest_fd):
                self._stamp(dest_fd, top)  # which has overlayfs make it in the upper layer
                position.change_over()
            try:
                self._copy_tree(top, position, exclude, keeps_existing=False)
            finally:
                position.close()
            self._stamp(cursor.fd, top)

    def copy_below(
        self, parents: list[str], node: Node, dest_fd: int, exclude: Matcher | None
    ) -> None:
        """Copy a file or a directory with the directories that lead to it (`--parents`).

        Directories that are there already stay as they are.
        """
        with Cursor(dest_fd) as merged:
            cursor = Position(merged, None)
            for path in parents:
                parent = self._source.tree.find(path, follow_last=False)
                if parent is not None and self._enter(cursor, parent, path):
                    self._dress(cursor.fd, parent)
            if not node.is_directory:
                self.copy_file(node, cursor.fd, node.path.rpartition("/")[2])
                return
            is_made = self._enter(cursor, node, node.path)
            self._copy_tree(node, cursor, exclude, keeps_existing=True)
            if is_made:
                self._dress(cursor.fd, node)
            self._stamp(cursor.fd, node)

    def copy_file(self, node: Node, dir_fd: int, name: str) -> None:
        """Copy one file to a name in a directory."""
        self._look(dir_fd)
        self._copy_node(node, dir_fd, name)

    def finish(self, fd: int, node: Node, *, is_dressed: bool) -> None:
        """Give a directory its time and, if it is a copy all by itself, its other attributes."""
        if is_dressed:
            self._dress(fd, node)
        self._stamp(fd, node)

    def verify(self, node: Node | Visit, source_fd: int, copy_fd: int | None = None) -> None:
        """Check that a file was copied as it was digested; raise BuilderError if it changed."""
        known = self._source.hashed_content(node.path)
        if known is None:
            return
        status, digest, is_certain = known
        if is_certain and packed_status(os.fstat(source_fd)) == status:
            return
        written = source_fd if copy_fd is None else copy_fd
        os.lseek(written, 0, os.SEEK_SET)
        if content_digest(written, node.status.st_size) != digest:
            raise BuilderError(
                f"/{node.path} changed while the build was copying it",
                fix="build again when nothing writes to the build context",
            )

    def _copy_tree(
        self, top: Node, cursor: Position, exclude: Matcher | None, *, keeps_existing: bool
    ) -> None:
        """Copy everything below `top` to where the cursor is; it comes back there."""
        entered: list[tuple[Visit, bool]] = []
        skip = len(top.path) + 1 if top.path else 0
        self._links.clear()
        self._look(cursor.fd)
        with cursor.start() as start:
            for visit in self._source.tree.walk(top, exclude):
                directory = visit.path[: -len(visit.name) - 1]
                while entered and entered[-1][0].path != directory:
                    self._leave(cursor, *entered.pop())
                if visit.is_directory:
                    is_made = self._enter(cursor, visit, visit.path[skip:])
                    if is_made:
                        cursor.change_over()
                    entered.append((visit, is_made or not keeps_existing))
                elif visit.status.st_nlink > 1 and self._is_linked(
                    visit, start.fd(cursor), visit.path[skip:], cursor.fd
                ):
                    continue
                elif not cursor.is_direct or not self._is_reused(
                    visit, visit.path[skip:], cursor.fd
                ):
                    self._copy_node(visit, cursor.fd, visit.name)
            while entered:
                self._leave(cursor, *entered.pop())

    def _enter(self, cursor: Position, node: Node | Visit, path: str) -> bool:
        """Go into a directory of the destination; True if it had to be made."""
        name = node.path.rpartition("/")[2]
        is_made = True
        try:
            os.mkdir(name, 0o700, dir_fd=cursor.fd)
        except FileExistsError:
            is_made = False
        except OSError as error:
            raise KernelError("mkdir", error.errno or 0, self._shown(path)) from None
        if not cursor.enter(name):
            raise Conflict(
                f"cannot copy to non-directory: {self._shown(path)}",
                fix="remove what is there in an earlier step, or choose another destination",
            )
        self._look(cursor.fd)
        self.entries += 1
        return is_made

    def _leave(self, cursor: Position, node: Visit, is_dressed: bool) -> None:  # noqa: FBT001
        """Finish a directory, and go up."""
        if is_dressed:
            self._dress(cursor.fd, Node(node.path, node.status))
        self._stamp(cursor.fd, node)
        cursor.leave()
        self._look(cursor.fd)

    def _look(self, dir_fd: int) -> None:
        """Note whether new files in a directory get its group rather than ours."""
        self._inherits_group = bool(os.fstat(dir_fd).st_mode & S_ISGID)

    def _is_reused(self, node: Visit, path: str, dir_fd: int) -> bool:
        """Take an equal file of a committed snapshot; False if there is none."""
        if self.reuse is None or not S_ISREG(node.status.st_mode):
            return False
        owner, bits = self._owner(node), self.metadata.mode_bits(node.status.st_mode)
        if not self.reuse.link(node, path, (dir_fd, node.name), owner=owner, bits=bits):
            return False
        self.entries += 1
        return True

    def _is_linked(self, node: Visit, start_fd: int, path: str, dir_fd: int) -> bool:
        """Make a hard link to a copy made before, if the source is one; False if it is new."""
        if not S_ISREG(node.status.st_mode):
            return False
        first = self._links.setdefault(node.status.st_ino, path)
        if first is path:
            return False
        directory, _, first_name = first.rpartition("/")
        first_fd = open_nofollow(start_fd, directory, os.O_PATH | os.O_DIRECTORY)
        try:
            made(
                lambda: os.link(
                    first_name,
                    node.name,
                    src_dir_fd=first_fd,
                    dst_dir_fd=dir_fd,
                    follow_symlinks=False,
                ),
                dir_fd,
                node.name,
                self._shown(path),
            )
        finally:
            os.close(first_fd)
        self.entries += 1
        return True

    def _copy_node(self, node: Node | Visit, dir_fd: int, name: str) -> None:
        """Copy anything but a directory."""
        kind = node.status.st_mode
        self.entries += 1
        try:
            if S_ISREG(kind):
                self._copy_file(node, dir_fd, name)
            elif S_ISLNK(kind):
                target = self._source.tree.link(node.path)
                self._make(lambda: os.symlink(target, name, dir_fd=dir_fd), dir_fd, name)
                self._dress_at(node, dir_fd, name)
            else:
                self._copy_special(node, dir_fd, name)
        except OSError as error:
            raise KernelError("copy", error.errno or 0, self._shown(name)) from None

    def _copy_file(self, node: Node | Visit, dir_fd: int, name: str) -> None:
        source_fd = self._source.open(node)
        try:
            bits = self.metadata.mode_bits(node.status.st_mode)
            fd = self._make(lambda: os.open(name, CREATE, bits, dir_fd=dir_fd), dir_fd, name)
            try:
                self.bytes += copy_bytes(source_fd, fd, node.status.st_size)
                self.verify(node, source_fd, fd)
                self._dress_file(fd, node, source_fd, bits)
                self._stamp(fd, node)
            finally:
                os.close(fd)
        finally:
            os.close(source_fd)

    def _copy_special(self, node: Node | Visit, dir_fd: int, name: str) -> None:
        """Copy a FIFO or a harmless device; a client's socket becomes an empty file."""
        kind, device = node.status.st_mode, node.status.st_rdev
        if S_ISFIFO(kind):
            self._make(lambda: os.mkfifo(name, 0o600, dir_fd=dir_fd), dir_fd, name)
        elif S_ISSOCK(kind) and self._source.is_context:
            os.close(self._make(lambda: os.open(name, CREATE, 0o600, dir_fd=dir_fd), dir_fd, name))
        elif self._is_harmless(kind, device):
            mode = S_IFCHR | 0o600
            self._make(lambda: os.mknod(name, mode, device, dir_fd=dir_fd), dir_fd, name)
        else:
            if not S_ISSOCK(kind):
                self.warnings.append(f"device {self._shown(name)} was not copied")
            return
        self._dress_at(node, dir_fd, name)

    def _is_harmless(self, kind: int, device: int) -> bool:
        numbers = os.major(device), os.minor(device)
        return self.can_mknod and S_ISCHR(kind) and numbers in HARMLESS_DEVICES

    def _dress_file(self, fd: int, node: Node | Visit, source_fd: int, bits: int) -> None:
        """Give a new file its owner, mode and attributes; what it has already is not set again."""
        owner = self._owner(node)
        attributes: xattr.Attributes = ()
        if not self._source.is_context:
            owner, attributes = self._kept(node, source_fd)
        if owner != (0, 0) or self._inherits_group:
            change_owner(fd, *owner)
            os.fchmod(fd, bits)  # chown took the set-id bits
        elif bits & self._masked:
            os.fchmod(fd, bits)
        if attributes:
            xattr.set_all(fd, attributes)

    def _dress(self, fd: int, node: Node) -> None:
        """Give a directory its owner, mode and attributes."""
        owner = self._owner(node)
        attributes: xattr.Attributes = ()
        if not self._source.is_context:
            source_fd = self._source.open(node)
            try:
                owner, attributes = self._kept(node, source_fd)
            finally:
                os.close(source_fd)
        change_owner(fd, *owner)
        os.fchmod(fd, self.metadata.mode_bits(node.status.st_mode))
        xattr.set_all(fd, attributes)

    def _dress_at(self, node: Node | Visit, dir_fd: int, name: str) -> None:
        """Give a link or a special file its owner, mode and time; it is never opened."""
        change_owner_at(dir_fd, name, *self._owner(node))
        if not S_ISLNK(node.status.st_mode):  # made a moment ago: it is no link
            os.chmod(name, self.metadata.mode_bits(node.status.st_mode), dir_fd=dir_fd)
        times = (node.status.st_mtime_ns, node.status.st_mtime_ns)
        os.utime(name, ns=times, dir_fd=dir_fd, follow_symlinks=False)

    def _stamp(self, fd: int, node: Node | Visit) -> None:
        os.utime(fd, ns=(node.status.st_mtime_ns, node.status.st_mtime_ns))

    def _owner(self, node: Node | Visit) -> tuple[int, int]:
        if self.metadata.owner is not None:
            return self.metadata.owner
        if self._source.is_context:
            return 0, 0
        return node.status.st_uid, node.status.st_gid

    def _kept(self, node: Node | Visit, source_fd: int) -> tuple[tuple[int, int], xattr.Attributes]:
        """Read the owner and the attributes that a file of a stage keeps."""
        owner = self._owner(node)
        if self._source.userxattr and self.metadata.owner is None:
            owner = kept_owner(source_fd) or owner
        return owner, xattr.portable(xattr.get_all(source_fd))

    def _make(self, make: Callable[[], T], dir_fd: int, name: str) -> T:
        return made(make, dir_fd, name, self._shown(name))

    def _shown(self, path: str) -> str:
        return f"{self._dest}/{path}"
