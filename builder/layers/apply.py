"""Unpack a layer's blob into a new directory that overlayfs can stack: never outside it.

Deletions become overlayfs's own marks, and act on lower layers only, whatever the order in the
archive: a name that the layer itself has stays, and if it is a directory it hides the lower one.
Digests of the blob and of the plain tar are checked at the end, so nothing may be used before
`apply_layer` has returned; who called it removes the directory when it raises.

Spec: OCI image-spec, layer.md, "Applying Changesets"; overlayfs.rst.
"""

import os
from collections.abc import Iterable, Sequence
from errno import EEXIST, ENOENT, ENOTDIR
from stat import S_IFCHR, S_ISDIR

from builder.errors import InvalidImage, KernelError
from builder.kernel import xattr
from builder.kernel.owner import change_owner
from builder.kernel.paths import open_nofollow
from builder.layers.place import Placer
from builder.layers.prefetch import Prefetch
from builder.layers.stream import Decompressed, Digesting, FdSource, Source
from builder.layers.tar import OPAQUE_MARKER, WHITEOUT_PREFIX, Entry
from builder.layers.tarreader import Limits, Reader
from builder.oci.digest import Digest
from builder.values import NamedTuple

_AUFS_PREFIX = ".wh..wh."  # what aufs kept for itself, beside the opaque marker: no files


class AppliedLayer(NamedTuple):
    """What was unpacked: the blob's name and size, those of the plain tar, and what to know.

    `implied` lists the directories that the layer does not describe; `skipped` the device nodes
    that were not made. A size far above the blob's is worth a warning.
    """

    digest: Digest
    blob_bytes: int
    diff_id: Digest
    size_bytes: int
    implied: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def apply_layer(
    source: Source | int,
    root_fd: int,
    *,
    expected_digest: Digest | None = None,
    expected_diff_id: Digest | None = None,
    userxattr: bool = False,
    can_mknod: bool = True,
    max_bytes: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 - a value
) -> AppliedLayer:
    """Unpack a blob, by its source or descriptor, into the new, empty directory `root_fd`.

    Raises InvalidImage for what is not a layer, breaks a limit, or has another digest.
    """
    packed = Digesting(FdSource(source) if isinstance(source, int) else source)
    unpacked = Decompressed(packed, max_bytes=max_bytes)
    is_plain = unpacked.format == "none"  # both digests are one then
    plain = packed if is_plain else Digesting(unpacked)
    marks = _Marks(root_fd, userxattr=userxattr)
    with (
        Placer(root_fd, can_mknod=can_mknod) as placer,
        Prefetch(unpacked if is_plain else plain) as stream,
    ):
        reader = Reader(stream.read, limits)
        for entry in reader:
            if not marks.take(entry):
                placer.place(entry, reader)
        reader.drain()
        marks.make(placer)
        placer.finish()
        while packed.read(1 << 20):  # what follows the compressed stream belongs to the blob too
            pass
        applied = AppliedLayer(
            packed.digest,
            packed.size_bytes,
            plain.digest,
            plain.size_bytes,
            tuple(placer.implied),
            tuple(placer.skipped),
        )
    _check("layer", expected_digest, applied.digest)
    _check("unpacked layer", expected_diff_id, applied.diff_id)
    return applied


def inherit_directories(
    root_fd: int, implied: Iterable[str], lowers: Sequence[str], *, userxattr: bool = False
) -> None:
    """Give directories that a layer implied the mode, owner and attributes of the lower ones.

    `lowers` are the directories of the layers below, top first; where none has the directory, it
    stays 0755 and root's. What an opaque root hides gets whiteouts, for overlayfs heeds that mark
    everywhere but there.
    """
    lower_fds = [os.open(lower, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) for lower in lowers]
    try:
        if xattr.is_opaque(root_fd, userxattr=userxattr):
            _hide_all(root_fd, lower_fds)
        for path in implied:
            for lower_fd in lower_fds:
                if _inherit(root_fd, path, lower_fd):
                    break
    finally:
        for lower_fd in lower_fds:
            os.close(lower_fd)


class _Marks:
    """The deletions of a layer, kept until all of its members are there."""

    def __init__(self, root_fd: int, *, userxattr: bool) -> None:
        self._root_fd = root_fd
        self._userxattr = userxattr
        self._deleted: dict[str, None] = {}
        self._opaque: dict[str, None] = {}

    def take(self, entry: Entry) -> bool:
        """Take a member that is a deletion; False if it is not one."""
        directory, _, name = entry.name.rpartition("/")
        if f"/{_AUFS_PREFIX}" in f"/{directory}":
            return True
        if not name.startswith(WHITEOUT_PREFIX):
            if f"/{WHITEOUT_PREFIX}" in f"/{directory}":
                raise InvalidImage(f"{entry.name!r} lies below the name of a whiteout")
            return False
        if name == OPAQUE_MARKER:
            self._opaque[directory] = None
            return True
        deleted = name.removeprefix(WHITEOUT_PREFIX)
        if deleted in {"", ".", ".."}:
            raise InvalidImage(f"{entry.name!r} deletes nothing that could be there")
        if not name.startswith(_AUFS_PREFIX):
            self._deleted[f"{directory}/{deleted}"] = None
        return True

    def make(self, placer: Placer) -> None:
        """Mark what the layer deletes."""
        for directory in self._opaque:
            fd = placer.directory(directory)
            xattr.set_opaque(fd, userxattr=self._userxattr)
        for path in self._deleted:
            dir_fd, name = placer.parent(path)
            try:
                os.mknod(name, S_IFCHR, os.makedev(0, 0), dir_fd=dir_fd)
            except OSError as error:
                if error.errno != EEXIST:
                    raise KernelError("mknod", error.errno or 0, path) from None
                self._hide_lower(dir_fd, name)

    def _hide_lower(self, dir_fd: int, name: str) -> None:
        if S_ISDIR(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode):
            xattr.set_opaque(f"/proc/self/fd/{dir_fd}/{name}", userxattr=self._userxattr)


def _hide_all(root_fd: int, lower_fds: Iterable[int]) -> None:
    for name in {name for lower_fd in lower_fds for name in os.listdir(lower_fd)}:
        try:
            os.mknod(name, S_IFCHR, os.makedev(0, 0), dir_fd=root_fd)
        except FileExistsError:
            continue
        except OSError as error:
            raise KernelError("mknod", error.errno or 0, name) from None


def _inherit(root_fd: int, path: str, lower_fd: int) -> bool:
    """Copy what the lower directory of that path is like; False if there is none."""
    try:
        source = open_nofollow(lower_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    except KernelError as error:
        if error.errno in (ENOENT, ENOTDIR):
            return False
        raise
    try:
        status = os.fstat(source)
        fd = open_nofollow(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            change_owner(fd, status.st_uid, status.st_gid)
            os.fchmod(fd, status.st_mode & 0o7777)
            xattr.set_all(fd, xattr.portable(xattr.get_all(source)))
            os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
        finally:
            os.close(fd)
    finally:
        os.close(source)
    return True


def _check(what: str, expected: Digest | None, found: Digest) -> None:
    if expected is not None and expected != found:
        raise InvalidImage(
            f"the {what} should be {expected} but is {found}",
            fix="pull or load the image again; if that does not help, its source is damaged",
        )
