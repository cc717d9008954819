"""Blobs by digest, in the layout of an OCI image directory.

Bytes are hostile until hashed: they are written to `ingest/`, digested, and only then renamed to
the name of their digest. The mode says what is known about a blob's durability, whatever becomes of
the database: 0600 was written, 0400 is on disk. After a power cut those of mode 0600 are digested
again before anything trusts them.

Spec: OCI image-spec, image-layout.md.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from typing import Self

from builder.concurrency import CancelToken
from builder.errors import InvalidImage, NotFound, StoreError
from builder.oci.descriptor import Descriptor
from builder.oci.digest import SHA256_PREFIX, Digest, digest_of, parse_digest, sha256
from builder.oci.provider import Provider, Stream
from builder.store import atomic, trash
from builder.store.failure import translated
from builder.store.leases import Leases
from builder.store.paths import Paths

_DURABLE_MODE = 0o400
_WRITTEN = 0o200
"""The bit of the mode that says that a blob is perhaps not on disk."""
_PIECE_BYTES = 1 << 20
_SYNC_ONE_BY_ONE = 8
_counter = count()

_Identity = tuple[int, int, int, int, int]
"""What changes when a file does: device, inode, size, and the times of content and status."""


class Content:
    """The blobs of one state directory. All methods may be called from several threads."""

    def __init__(self, paths: Paths, leases: Leases) -> None:
        """Keep where blobs are and whose lease pins them."""
        self._paths = paths
        self._leases = leases
        self._written: dict[Digest, _Identity] = {}
        self.has_written = False
        self.follow: Callable[[Ingest], None] | None = None
        """Told of every new blob when it is begun."""

    def path(self, digest: Digest) -> str:
        """Name a blob's file, which need not exist."""
        return self._paths.blob(digest)

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here; if it is, it stays while this store is open."""
        try:
            self.size(digest)
        except NotFound:
            return False
        return True

    def size(self, digest: Digest) -> int:
        """Give a blob's size in bytes and pin it; raise NotFound if it is not here."""
        with translated(self._paths.blobs), self._leases.adding():
            try:
                size_bytes = os.stat(self._paths.blob(digest)).st_size
            except FileNotFoundError:
                raise _missing(digest) from None
            self._leases.pin_blob(digest)
        return size_bytes

    def open(self, digest: Digest) -> int:
        """Open a blob for reading and pin it; the caller closes the descriptor."""
        self.size(digest)
        with translated(self._paths.blobs):
            return os.open(self._paths.blob(digest), os.O_RDONLY | os.O_CLOEXEC)

    def open_blob(self, descriptor: Descriptor) -> Stream:
        """Open a blob whose size must be that of its descriptor; raise NotFound otherwise."""
        fd = self.open(descriptor.digest)
        if os.fstat(fd).st_size != descriptor.size_bytes:
            os.close(fd)
            self.set_aside(descriptor.digest)
            raise _missing(descriptor.digest)
        return open(fd, "rb", buffering=0)

    def read(self, digest: Digest, *, limit: int) -> bytes:
        """Read a small blob whole, pin it and check its digest.

        A corrupt blob is set aside, so that the next run can get it anew, and StoreError raised.
        """
        self.size(digest)
        return self.peek(digest, limit=limit)

    def peek(self, digest: Digest, *, limit: int) -> bytes:
        """Read a small blob like `read`, but without pinning it.

        Raises InvalidImage or StoreError.
        """
        with translated(self._paths.blobs):
            try:
                fd = os.open(self._paths.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise _missing(digest) from None
            try:
                content = atomic.read_all(fd, limit)
            finally:
                os.close(fd)
        if len(content) > limit:
            raise InvalidImage(f"blob {digest} is larger than {limit} bytes")
        if digest_of(content) != digest:
            self.set_aside(digest)
            raise StoreError(
                f"blob {digest} was corrupt and has been removed",
                fix="run the command again: it will be fetched or built anew",
            )
        return content

    def put(self, content: bytes) -> Digest:
        """Store bytes at hand and pin them."""
        digest = digest_of(content)
        if not self.has(digest):
            with self.ingest() as ingest:
                ingest.write(content)
                ingest.commit(digest, len(content), is_verified=True)
        return digest

    def ingest(self) -> "Ingest":
        """Begin a new blob; see Ingest."""
        self.has_written = True
        ingest = Ingest(self._paths, self._leases, self._written)
        if self.follow is not None:
            self.follow(ingest)
        return ingest

    def is_as_written(self, digest: Digest, fd: int) -> bool:
        """Whether an open blob is the file that this process digested as it wrote it, untouched."""
        return self._written.get(digest) == _identity(fd)

    def fetch(
        self, provider: Provider, descriptor: Descriptor, token: CancelToken | None = None
    ) -> None:
        """Copy a blob from elsewhere unless it is here; wrong bytes raise InvalidImage."""
        if self.has(descriptor.digest):
            return
        stream = provider.open_blob(descriptor)
        if self.has(descriptor.digest):  # a registry's provider has put it here, verified
            stream.close()
            return
        hasher = sha256()
        left = descriptor.size_bytes
        try:
            with self.ingest() as ingest:
                while piece := stream.read(_PIECE_BYTES):
                    if token is not None:
                        token.check()
                    left -= len(piece)
                    if left < 0:
                        break
                    hasher.update(piece)
                    ingest.write(piece)
                if left or SHA256_PREFIX + hasher.hexdigest() != descriptor.digest:
                    raise InvalidImage(f"the bytes received are not blob {descriptor.digest}")
                ingest.commit(descriptor.digest, descriptor.size_bytes, is_verified=True)
        finally:
            stream.close()

    def verify(self, digest: Digest) -> bool:
        """Read a blob and compare its digest; False also if it is not here."""
        try:
            fd = os.open(self._paths.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            with translated(self._paths.blob(digest)):
                return _digest_of_file(fd) == digest
        finally:
            os.close(fd)

    def flush(self, digests: Iterable[Digest], *, beside: str | None = None) -> None:
        """Make blobs durable; absent ones are skipped, and durable ones cost one look each.

        A file that lies `beside` becomes so with them.
        """
        with translated(self._paths.blobs):
            unsynced = self._unsynced_of(digests)
            paths = [self._paths.blob(digest) for digest in unsynced]
            if beside is not None:
                paths.append(beside)
            if len(unsynced) > _SYNC_ONE_BY_ONE:
                atomic.syncfs(self._paths.blobs)
            else:
                atomic.sync_files(paths)
                if unsynced:
                    atomic.sync_directory(self._paths.blobs)
            self.mark_durable(unsynced)

    def flush_ahead(self, digests: Iterable[Digest]) -> None:
        """Do what may take long of a later `flush`: write bytes out, or sync the file system."""
        with translated(self._paths.blobs):
            unsynced = self._unsynced_of(digests)
            if len(unsynced) > _SYNC_ONE_BY_ONE:
                self.flush(unsynced)
                return
            for digest in unsynced:
                atomic.write_back(self._paths.blob(digest))

    def mark_durable(self, digests: Iterable[Digest]) -> None:
        """Note that blobs are on disk: call it only after that is so."""
        for digest in digests:
            try:
                os.chmod(self._paths.blob(digest), _DURABLE_MODE)
            except FileNotFoundError:
                continue

    def unsynced(self) -> list[Digest]:
        """List the blobs not known to be on disk."""
        return [digest for digest, status in self._walk() if status.st_mode & _WRITTEN]

    def walk(self) -> Iterator[tuple[Digest, int]]:
        """Go through all blobs and their sizes in bytes; what has no digest's name is skipped."""
        for digest, status in self._walk():
            yield digest, status.st_size

    def delete(self, digest: Digest) -> None:
        """Remove a blob that nothing refers to; the caller holds the sweep lock."""
        with translated(self._paths.blobs):
            trash.discard(self._paths.blob(digest), self._paths.trash)

    def set_aside(self, digest: Digest) -> None:
        """Remove a corrupt blob from view."""
        self.delete(digest)

    def _walk(self) -> Iterator[tuple[Digest, os.stat_result]]:
        with translated(self._paths.blobs), os.scandir(self._paths.blobs) as entries:
            for entry in entries:
                try:
                    digest = parse_digest(SHA256_PREFIX + entry.name)
                    yield digest, entry.stat(follow_symlinks=False)
                except (InvalidImage, FileNotFoundError):
                    continue

    def _unsynced_of(self, digests: Iterable[Digest]) -> list[Digest]:
        return [digest for digest in dict.fromkeys(digests) if self._is_unsynced(digest)]

    def _is_unsynced(self, digest: Digest) -> bool:
        try:
            return bool(os.stat(self._paths.blob(digest)).st_mode & _WRITTEN)
        except FileNotFoundError:
            return False


class Ingest:
    """A blob being written; a context manager that leaves nothing unless it was committed."""

    def __init__(self, paths: Paths, leases: Leases, written: dict[Digest, _Identity]) -> None:
        """Open a temporary file that dies with this process' lease; `written` notes what it was."""
        self._paths = paths
        self._leases = leases
        self._written = written
        self._is_committed = False
        self.digest: Digest | None = None
        """What it was committed as."""
        self.is_over = False
        """Whether nothing more will be written; set after the digest."""
        self.path = f"{paths.ingest}/{leases.name}-{next(_counter)}"
        with translated(self.path):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self.fd = os.open(self.path, flags, 0o600)

    def __enter__(self) -> Self:
        """Return the ingest itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close the file; remove it if it was not committed."""
        self.is_over = True
        os.close(self.fd)
        if not self._is_committed:
            with suppress(OSError):  # it goes with the lease, then
                os.unlink(self.path)

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes."""
        with translated(self.path):
            atomic.write_all(self.fd, content)

    def commit(
        self, digest: Digest, size_bytes: int | None = None, *, is_verified: bool = False
    ) -> None:
        """Give the file its name and pin it; raise InvalidImage if it is not what it should be.

        With `is_verified` the caller digested all bytes on their way here; else they are read now.
        """
        with translated(self.path):
            written = os.fstat(self.fd).st_size
            if size_bytes is not None and written != size_bytes:
                raise InvalidImage(f"blob {digest} has {written} bytes instead of {size_bytes}")
            if not is_verified and _digest_of_file(self.fd) != digest:
                raise InvalidImage(f"the bytes received are not blob {digest}")
            target = self._paths.blob(digest)
            self.digest = digest
            with self._leases.adding():
                self._leases.pin_blob(digest)
                if _size_or_none(target) == written:
                    return  # there is one, perhaps already durable; ours is dropped
                os.rename(self.path, target)
            self._written[digest] = _identity(self.fd)
        self._is_committed = True


def _digest_of_file(fd: int) -> Digest:
    hasher = sha256()
    offset = 0
    while piece := os.pread(fd, _PIECE_BYTES, offset):
        hasher.update(piece)
        offset += len(piece)
    return Digest(SHA256_PREFIX + hasher.hexdigest())


def _identity(fd: int) -> _Identity:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _size_or_none(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return None


def _missing(digest: Digest) -> NotFound:
    return NotFound(f"blob {digest} is not in the store", fix="pull or load the image again")
