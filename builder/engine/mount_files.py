"""Cache mounts as documents and blobs: what lets them travel, every file's content once.

A document lists the tree; contents are cut into pieces of 4 MiB, each a zstd blob by its digest. An
unchanged piece is neither compressed nor written again. Times are kept, since build tools look at
them; sockets and devices are left out, and nothing is ever written outside the mount.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from builder.engine.cache_layout import CacheLayout, members
from builder.errors import InvalidImage, KernelError, NotFound
from builder.exporters.layout import REF_NAME
from builder.kernel.owner import change_owner, change_owner_at
from builder.kernel.paths import open_nofollow, open_parent
from builder.oci import json
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest, digest_of, hex_of, parse_digest
from builder.store.cache_mounts import CacheMountUsage, lock_name, mount_hash
from builder.store.store import Store
from builder.values import NamedTuple

__all__ = ["CacheMountUsage", "Exported", "Imported", "chosen", "export_mounts", "import_mounts"]

MOUNT_TYPE = "application/vnd.builder.cache-mount.v1+json"
PIECE_TYPE = "application/vnd.builder.cache-mount.piece.v1+zstd"
MAX_DOCUMENT_BYTES = 256 << 20
PIECE_BYTES = 4 << 20
_MAX_PACKED_BYTES = PIECE_BYTES + (64 << 10)


class Exported(NamedTuple):
    """What an export of one mount came to."""

    id: str
    files: int
    size_bytes: int
    written_bytes: int
    """How much had to be written anew."""


class Imported(NamedTuple):
    """What became of one mount of a layout."""

    id: str
    files: int
    is_new: bool
    """False: there is such a mount here, which was left alone."""


class _Piece(NamedTuple):
    plain: str
    blob: Descriptor


def shown_id(mount_id: str) -> str:
    """Give the part of an ID that people wrote; the rest tells apart how it began."""
    return mount_id.partition("\0")[0]


def chosen(store: Store, ids: Sequence[str]) -> list[CacheMountUsage]:
    """Find the mounts with these IDs or hashes, all without any; NotFound for one that is not."""
    mounts = [mount for mount in store.cache_mounts.usages() if mount.id or ids]
    if not ids:
        return mounts
    found = []
    for wanted in ids:
        matching = [m for m in mounts if _is_meant(m, wanted)]
        if not matching:
            raise NotFound(
                f"there is no cache mount {wanted!r}", fix="builder cache ls lists those that are"
            )
        found += [mount for mount in matching if mount not in found]
    return found


def export_mounts(
    store: Store, layout: CacheLayout, mounts: Iterable[CacheMountUsage]
) -> tuple[list[Descriptor], list[Exported]]:
    """Write mounts into a layout that is held; give its entries. Waits for exclusive users."""
    entries, done = [], []
    for mount in mounts:
        known = _known_pieces(layout, mount.hash)
        with store.locks.held(lock_name(mount.hash), is_shared=True):
            writer = _Writer(layout, known)
            files = _listed(writer, store.cache_mounts.path(mount.hash))
        document = {
            "version": 1,
            "id": mount.id,
            "namespace": mount.namespace,
            "files": files,
        }
        entry = layout.add(json.dumps(document), MOUNT_TYPE)
        entries.append(entry._replace(annotations=((REF_NAME, mount.hash),)))
        done.append(Exported(mount.id, len(files), writer.size_bytes, writer.written_bytes))
    return entries, done


def import_mounts(
    store: Store, layout: CacheLayout, ids: Sequence[str] = (), *, is_replacing: bool = False
) -> list[Imported]:
    """Fill mounts from a layout; one that is here stays as it is unless it is to be replaced."""
    done = []
    for entry in layout.entries():
        if entry.media_type != MOUNT_TYPE:
            continue
        document = _document(layout, entry)
        mount_id = json.string(document, "id")
        namespace = json.string(document, "namespace", "")
        name = mount_hash(mount_id, namespace)
        if ids and not any(
            wanted == shown_id(mount_id) or name.startswith(wanted) for wanted in ids
        ):
            continue
        files = members(document, "files")
        if is_replacing:
            store.cache_mounts.remove(name)

        def fill(fd: int, files: Sequence[json.Object] = files) -> None:
            _fill(fd, files, layout)

        with store.cache_mounts.held(mount_id, namespace=namespace, fill=fill) as mount:
            done.append(Imported(mount_id, len(files), mount.is_new))
    return done


def reach(layout: CacheLayout, entry: Descriptor) -> Iterator[Digest]:
    """List the blobs that a mount's document needs."""
    for piece in pieces_of(layout, entry):
        yield piece.digest


def pieces_of(layout: CacheLayout, entry: Descriptor) -> list[Descriptor]:
    """List the pieces of a mount's document, each once, in the order of its files."""
    found: dict[Digest, Descriptor] = {}
    for file in members(_document(layout, entry), "files"):
        for piece in _pieces(file):
            found.setdefault(piece.blob.digest, piece.blob)
    return list(found.values())


def name_of(layout: CacheLayout, entry: Descriptor) -> str:
    """Give the hash by which the store knows a document's mount."""
    document = _document(layout, entry)
    return mount_hash(json.string(document, "id"), json.string(document, "namespace", ""))


class _Writer:
    """Writes one mount's files into a layout."""

    def __init__(self, layout: CacheLayout, known: Mapping[str, Descriptor]) -> None:
        self._layout = layout
        self._known = dict(known)
        self._links: dict[tuple[int, int], str] = {}
        self.size_bytes = 0
        self.written_bytes = 0

    def files(self, root_fd: int) -> Iterator[dict[str, object]]:
        """Describe everything below a directory, itself first, parents before children.

        Another step may be at work in it: what vanishes is left out, and no link leads out of it.
        """
        pending = [""]
        while pending:
            path = pending.pop()
            try:
                fd = open_nofollow(root_fd, path) if path else os.dup(root_fd)
            except KernelError:
                continue
            try:
                facts, names = self._described(root_fd, path, fd)
            finally:
                os.close(fd)
            pending += [f"{path}/{name}" if path else name for name in names]
            if facts:
                yield facts

    def _described(
        self, root_fd: int, path: str, fd: int
    ) -> tuple[dict[str, object], Sequence[str]]:
        """Describe one file, and list it if it is a directory; nothing for a socket or a device."""
        status = os.fstat(fd)
        facts: dict[str, object] = {
            "path": path, "mode": S_IMODE(status.st_mode), "uid": status.st_uid,
            "gid": status.st_gid, "mtime_ns": status.st_mtime_ns,
        }  # fmt: skip
        if S_ISDIR(status.st_mode):
            names = sorted(os.listdir(f"/proc/self/fd/{fd}"), reverse=True)
            return {**facts, "type": "directory"}, names
        if S_ISLNK(status.st_mode):
            return {**facts, "type": "link", "target": os.readlink("", dir_fd=fd)}, ()
        if not S_ISREG(status.st_mode):
            return {}, ()
        try:
            return {**facts, **self._regular(root_fd, path, status)}, ()
        except KernelError:
            return {}, ()

    def _regular(self, root_fd: int, path: str, status: os.stat_result) -> dict[str, object]:
        identity = status.st_dev, status.st_ino
        if status.st_nlink > 1 and identity in self._links:
            return {"type": "hard link", "target": self._links[identity]}
        pieces = []
        fd = open_nofollow(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            while content := _exactly(fd, PIECE_BYTES):
                self.size_bytes += len(content)
                pieces.append(self._piece(content))
        finally:
            os.close(fd)
        self._links[identity] = path
        return {"type": "file", "pieces": pieces}

    def _piece(self, content: bytes) -> list[object]:
        plain = hex_of(digest_of(content))
        blob = self._known.get(plain)
        if blob is None or not self._layout.has(blob):
            packed = _packed(content)
            blob = self._known[plain] = self._layout.add(packed, PIECE_TYPE)
            self.written_bytes += len(packed)
        return [plain, blob.digest, blob.size_bytes]


def _listed(writer: _Writer, path: str) -> list[dict[str, object]]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
    try:
        return list(writer.files(fd))
    finally:
        os.close(fd)


def _fill(root_fd: int, files: Sequence[json.Object], layout: CacheLayout) -> None:
    """Make the files of a document below a directory, then their times, deepest first."""
    for file in files:
        try:
            _make(root_fd, file, layout)
        except OSError as error:
            raise KernelError("write", error.errno or 0, json.string(file, "path")) from None
    for file in reversed(files):
        mtime_ns = json.integer(file, "mtime_ns")
        parent_fd, name = _place(root_fd, json.string(file, "path"))
        try:
            os.utime(name, ns=(mtime_ns, mtime_ns), dir_fd=parent_fd, follow_symlinks=False)
        finally:
            os.close(parent_fd)


def _make(root_fd: int, file: json.Object, layout: CacheLayout) -> None:
    path, mode = json.string(file, "path"), json.integer(file, "mode") & 0o7777
    owner = json.integer(file, "uid"), json.integer(file, "gid")
    parent_fd, name = _place(root_fd, path)
    try:
        match json.string(file, "type"):
            case "directory":
                if path:
                    os.mkdir(name, 0o700, dir_fd=parent_fd)
                _owned(parent_fd, name, owner, mode)
            case "link":
                os.symlink(json.string(file, "target"), name, dir_fd=parent_fd)
                change_owner_at(parent_fd, name, *owner)
            case "hard link":
                target_fd, target = _place(root_fd, json.string(file, "target"))
                try:
                    os.link(
                        target, name, src_dir_fd=target_fd, dst_dir_fd=parent_fd,
                        follow_symlinks=False,
                    )  # fmt: skip
                finally:
                    os.close(target_fd)
            case "file":
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                with open(os.open(name, flags, 0o600, dir_fd=parent_fd), "wb") as out:
                    out.writelines(_unpacked(layout, piece) for piece in _pieces(file))
                _owned(parent_fd, name, owner, mode)
            case kind:
                raise InvalidImage(f"{kind!r} is no kind of file")
    finally:
        os.close(parent_fd)


def _owned(parent_fd: int, name: str, owner: tuple[int, int], mode: int) -> None:
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    try:
        if owner != (0, 0):
            change_owner(fd, *owner)
        os.fchmod(fd, mode)
    finally:
        os.close(fd)


def _place(root_fd: int, path: str) -> tuple[int, str]:
    """Open the directory of a path, never leaving the root; the root itself is `.` in itself."""
    if not path:
        return os.dup(root_fd), "."
    return open_parent(root_fd, path)


def _packed(content: bytes) -> bytes:
    from builder.layers.zstd import Zstd

    parts: list[bytes] = []
    with Zstd(lambda part: parts.append(bytes(part)), lambda _block: None) as encoder:
        encoder.finish(content)
    return b"".join(parts)


def _unpacked(layout: CacheLayout, piece: _Piece) -> bytes:
    """Read a piece, and verify both what is stored and what comes of it."""
    from builder.layers.stream import BytesSource, Decompressed

    source = Decompressed(BytesSource(layout.read(piece.blob, limit=_MAX_PACKED_BYTES)))
    parts, total = [], 0
    while part := source.read(PIECE_BYTES):
        total += len(part)
        if total > PIECE_BYTES:
            raise InvalidImage(f"the piece {piece.blob.digest} is larger than a piece")
        parts.append(bytes(part))
    content = b"".join(parts)
    if hex_of(digest_of(content)) != piece.plain:
        raise InvalidImage(f"the piece {piece.blob.digest} is not what its document says")
    return content


def _pieces(file: json.Object) -> Iterator[_Piece]:
    found = file.get("pieces")
    if found is None:
        return
    if not isinstance(found, list):
        raise InvalidImage("pieces is not a list")
    for one in found:
        match one:
            case [str() as plain, str() as digest, int() as size_bytes] if (
                0 <= size_bytes <= _MAX_PACKED_BYTES
            ):
                yield _Piece(plain, Descriptor(PIECE_TYPE, parse_digest(digest), size_bytes))
            case _:
                raise InvalidImage("a piece is not two digests and a size that pieces have")


def _known_pieces(layout: CacheLayout, name: str) -> dict[str, Descriptor]:
    """Learn from the last export which pieces need not be compressed again."""
    try:
        document = _document(layout, layout.entry(MOUNT_TYPE, name))
        return {p.plain: p.blob for file in members(document, "files") for p in _pieces(file)}
    except (NotFound, InvalidImage):
        return {}


def _document(layout: CacheLayout, entry: Descriptor) -> json.Object:
    content = layout.read(entry, limit=MAX_DOCUMENT_BYTES)
    document = json.load_object(content, what="the cache mount", max_bytes=MAX_DOCUMENT_BYTES)
    if json.integer(document, "version") != 1:
        raise InvalidImage("the cache mount is of a version that is not known")
    return document


def _is_meant(mount: CacheMountUsage, wanted: str) -> bool:
    return wanted in {mount.id, shown_id(mount.id)} or (
        len(wanted) >= 6 and mount.hash.startswith(wanted)  # noqa: PLR2004 - a short hash
    )


def _exactly(fd: int, wanted: int) -> bytes:
    """Read as much as there is, up to a limit: short reads are no reason for another piece."""
    parts, left = [], wanted
    while left and (part := os.read(fd, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
