"""COPY, ADD, WORKDIR and here-documents on a mounted root: where things go.

Sources come from a tree that was digested for the cache key, and what is written is checked to be
what was digested. Destinations are resolved inside the root; what is inside a copied directory
never leads anywhere.
"""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from errno import ENOENT, ENOTDIR
from stat import S_ISREG

from builder.errors import Conflict, KernelError
from builder.graph.ops import Copy, Mkdir, Owner, Write
from builder.graph.vertex import Selector, has_wildcards
from builder.kernel.ids import resolve_owner
from builder.kernel.paths import make_dirs, open_in_root, open_place
from builder.layers.checksum import Checksums
from builder.layers.direct import Upper
from builder.layers.duplicate import Duplicator
from builder.layers.extract import extract_archive
from builder.layers.mode import parse_mode
from builder.layers.names import joined
from builder.layers.newfile import Metadata
from builder.layers.reuse import Reuse
from builder.layers.stream import is_archive
from builder.layers.tree import Below, Matcher, Node
from builder.values import NamedTuple

PIVOT = "/./"


class CopyResult(NamedTuple):
    """How much was done, and what the user should know."""

    entries: int = 0
    bytes: int = 0
    warnings: tuple[str, ...] = ()


def copy(
    action: Copy,
    source: Checksums,
    dest_root_fd: int,
    *,
    can_mknod: bool = True,
    upper: str | None = None,
    reuse: Reuse | None = None,
) -> CopyResult:
    """Copy what an action selects of a tree into a mounted root.

    `upper`, the root's upper directory, may be given where nobody looks at the mount afterwards:
    then what is below new directories is made there, and linked from `reuse` if that has it.

    Raises NotFound for a missing source, Conflict where a directory and a file meet, UsageError
    for a bad mode or owner.
    """
    metadata, warning = copy_metadata(action, dest_root_fd)
    duplicator = Duplicator(source, metadata, can_mknod=can_mknod, dest=action.dest)
    placing = _Placing(action, source, dest_root_fd, duplicator)
    if action.parents:
        placing.copy_parents()
    else:
        selector = Selector(
            action.source,
            action.allow_wildcard and has_wildcards(action.source),
            action.exclude,
            action.is_required,
        )
        nodes = source.selected(selector)
        direct = Upper(dest_root_fd, upper) if upper and len(nodes) == 1 else nullcontext()
        with direct as duplicator.upper:
            duplicator.reuse = reuse
            for node in nodes:
                placing.copy_one(node, selector)
    warnings = ([warning] if warning else []) + duplicator.warnings
    return CopyResult(duplicator.entries, duplicator.bytes, tuple(warnings))


def copy_metadata(action: Copy, dest_root_fd: int) -> tuple[Metadata, str | None]:
    """Resolve a copy's owner and mode in the root that is copied to; and what to warn of."""
    return _metadata(dest_root_fd, action.owner, action.chmod)


def mkdir(action: Mkdir, dest_root_fd: int) -> CopyResult:
    """Make a directory and its missing parents, all with the mode and owner of the action.

    Raises Conflict.
    """
    metadata, warning = _metadata(dest_root_fd, action.owner, "")
    uid, gid = metadata.owner or (0, 0)
    try:
        fd = make_dirs(dest_root_fd, action.path, mode_bits=action.mode_bits, uid=uid, gid=gid)
    except KernelError as error:
        if error.errno == ENOTDIR:
            raise Conflict(
                f"mkdir {action.path}: not a directory",
                fix="choose another path, or remove the file that is in the way first",
            ) from None
        raise
    os.close(fd)
    return CopyResult(1, 0, (warning,) if warning else ())


def write(action: Write, dest_root_fd: int) -> CopyResult:
    """Write a here-document: to the destination, or into it if that is a directory."""
    metadata, warning = _metadata(dest_root_fd, action.owner, action.chmod)
    dir_fd, name = _file_place(dest_root_fd, action.dest, action.filename, metadata)
    content = os.fsencode(action.content)
    try:
        metadata.write_file(dir_fd, name, content)
    finally:
        os.close(dir_fd)
    return CopyResult(1, len(content), (warning,) if warning else ())


class _Placing:
    """The destination rules of one COPY or ADD."""

    def __init__(
        self, action: Copy, source: Checksums, dest_root_fd: int, duplicator: Duplicator
    ) -> None:
        self._action = action
        self._source = source
        self._root_fd = dest_root_fd
        self._duplicator = duplicator
        self._metadata = duplicator.metadata
        self._exclude: Matcher | None = None
        if action.exclude:
            self._exclude = source.compile_patterns(action.exclude)

    def copy_one(self, node: Node, selector: Selector) -> None:
        """Copy one source: a directory's content, a file, or what an archive holds."""
        top = self._source.followed(node)
        if top is None:
            raise self._source.missing(node.path)
        name = node.path.rpartition("/")[2]
        if S_ISREG(top.status.st_mode) and self._action.unpack != "never" and self._unpack(top):
            return
        if top.is_directory:
            fd = self._directory(self._action.dest)
            try:
                self._duplicator.copy_content(top, fd, self._exclude)
            finally:
                os.close(fd)
            return
        if selector.has_wildcards and self._exclude and self._exclude.is_ignored(name):
            return
        dir_fd, name = _file_place(self._root_fd, self._action.dest, name, self._metadata)
        try:
            self._duplicator.copy_file(top, dir_fd, name)
        finally:
            os.close(dir_fd)

    def copy_parents(self) -> None:
        """Copy sources with their directories, from the pivot on."""
        pivot, mark, pattern = self._action.source.partition(PIVOT)
        if not mark:
            pivot, pattern = "", self._action.source
        is_found = False
        for base in self._source.tree.glob(pivot, is_deep=True):
            top = self._source.followed(base)
            if top is None or not top.is_directory:
                continue
            for node in self._matches(pattern, top):
                is_found = True
                self._copy_kept(top, node)
        if not is_found and self._action.is_required and not has_wildcards(self._action.source):
            raise self._source.missing(self._action.source)

    def _matches(self, pattern: str, top: Node) -> Iterator[Node]:
        """Find a pattern below a directory; what lies in another match is copied with it."""
        inside = ""
        for node in self._source.tree.glob(pattern, top, is_deep=True):
            if not inside or not node.path.startswith(inside):
                yield node
                inside = f"{node.path}/" if node.is_directory and node.path else ""

    def _copy_kept(self, top: Node, node: Node) -> None:
        skip = len(top.path) + 1 if top.path else 0
        kept = node.path[skip:] if node.path != top.path else ""
        if kept and self._exclude is not None and self._exclude.is_ignored(kept):
            return
        fd = self._directory(self._action.dest)
        try:
            parts = kept.split("/") if kept else []
            parents = [joined(top.path, "/".join(parts[:end])) for end in range(1, len(parts))]
            exclude = Below(self._exclude, kept) if self._exclude is not None else None
            if kept:
                self._duplicator.copy_below(parents, node, fd, exclude)
            else:
                self._duplicator.copy_content(node, fd, exclude)
        finally:
            os.close(fd)

    def _unpack(self, top: Node) -> bool:
        """Extract a file if it is an archive."""
        archive = self._source.open(top)
        try:
            if not is_archive(archive):
                return False
            fd = self._directory(self._action.dest)
            try:
                entries = extract_archive(
                    archive, fd, owner=self._metadata.owner, can_mknod=self._duplicator.can_mknod
                )
            finally:
                os.close(fd)
            self._duplicator.entries += entries
            self._duplicator.verify(top, archive)
            return True
        finally:
            os.close(archive)

    def _directory(self, path: str) -> int:
        """Open the destination directory, making it and its parents."""
        uid, gid = self._metadata.owner or (0, 0)
        try:
            return make_dirs(
                self._root_fd, path, mode_bits=self._metadata.parent_mode, uid=uid, gid=gid
            )
        except KernelError as error:
            if error.errno == ENOTDIR:
                raise _not_a_directory(path) from None
            raise


def _file_place(root_fd: int, dest: str, name: str, metadata: Metadata) -> tuple[int, str]:
    """Find where a file named `name` goes: into `dest` if that is a directory, else to `dest`."""
    uid, gid = metadata.owner or (0, 0)
    try:
        if dest.endswith("/"):
            return make_dirs(root_fd, dest, mode_bits=metadata.parent_mode, uid=uid, gid=gid), name
        try:
            return open_in_root(root_fd, dest, os.O_RDONLY | os.O_DIRECTORY), name
        except KernelError as error:
            if error.errno not in (ENOENT, ENOTDIR):
                raise
        return open_place(root_fd, dest, mode_bits=metadata.parent_mode, uid=uid, gid=gid)
    except KernelError as error:
        if error.errno == ENOTDIR:
            raise _not_a_directory(dest) from None
        raise


def _metadata(root_fd: int, owner: Owner | None, chmod: str) -> tuple[Metadata, str | None]:
    """Resolve `--chown` in the destination and parse `--chmod`."""
    mode = parse_mode(chmod)
    if owner is None:
        return Metadata(None, mode), None
    uid, gid, warning = resolve_owner(root_fd, owner)
    return Metadata((uid, gid), mode), warning


def _not_a_directory(path: str) -> Conflict:
    return Conflict(
        f"cannot copy to non-directory: {path}",
        fix="remove the file that is there in an earlier step, or choose another destination",
    )
