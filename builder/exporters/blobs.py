"""Copy blobs out of the store, checked on the way: a corrupt one is never exported silently.

The bytes are hashed while the kernel copies them: hashing and copying both release the
interpreter, so that on two cores a copy costs no more than the slower of the two. Only a large blob
that this process itself digested and wrote, and nobody has touched since, is not read again.

Spec: copy_file_range(2), sendfile(2).
"""

import errno
import os
from collections.abc import Mapping
from contextlib import closing
from typing import Protocol

from builder.concurrency import Pool
from builder.errors import KernelError, NotFound, StoreError
from builder.oci.descriptor import Descriptor
from builder.oci.digest import SHA256_PREFIX, Digest, digest_of, sha256

_CHUNK = 1 << 20
_CONCURRENT = 4 << 20
_NOT_COPYABLE = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}
)
"""Other file systems, pipes and sockets, files opened for appending, old kernels, seccomp."""


class Content(Protocol):
    """Where blobs come from: the content store, or an archive."""

    def open(self, digest: Digest) -> int:
        """Open a blob for reading; the caller closes the descriptor."""
        ...

    def is_as_written(self, digest: Digest, fd: int) -> bool:
        """Whether the open blob is one that this process has just written, and digested then."""
        ...


class Blobs:
    """Documents at hand in memory, over the blobs of a store."""

    def __init__(self, content: Content, documents: Mapping[Digest, bytes] | None = None) -> None:
        """Look into the documents first."""
        self._content = content
        self._documents = documents or {}

    def copy(self, descriptor: Descriptor, out: int) -> None:
        """Append a blob to a file, pipe or socket; StoreError if its bytes are not its digest's."""
        document = self._documents.get(descriptor.digest)
        if document is not None:
            write_all(out, document)
            return
        source = self._content.open(descriptor.digest)
        try:
            is_own = self._content.is_as_written(descriptor.digest, source)
            _copy(source, descriptor, out, is_own=is_own)
        finally:
            os.close(source)

    def read(self, descriptor: Descriptor, *, limit: int) -> bytes:
        """Read a small blob whole; StoreError if it is corrupt or larger than `limit`."""
        document = self._documents.get(descriptor.digest)
        if document is not None:
            return document
        with closing(os.fdopen(self._content.open(descriptor.digest), "rb")) as file:
            content = file.read(limit + 1)
        if len(content) > limit or digest_of(content) != descriptor.digest:
            raise _corrupt(descriptor)
        return content

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob is there."""
        if descriptor.digest in self._documents:
            return True
        try:
            os.close(self._content.open(descriptor.digest))
        except NotFound:
            return False
        return True


def write_all(out: int, content: bytes | bytearray | memoryview) -> None:
    """Write every byte; KernelError where the kernel refuses."""
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(out, view) :]
    except OSError as error:
        raise _refused("write", error) from None


def _copy(source: int, descriptor: Descriptor, out: int, *, is_own: bool) -> None:
    size_bytes = os.fstat(source).st_size
    if size_bytes != descriptor.size_bytes:
        raise _corrupt(descriptor)
    if size_bytes < _CONCURRENT:
        _copy_hashing(source, descriptor, out)
        return
    if is_own:
        copy_bytes(source, size_bytes, out)
        return
    with Pool(1) as pool:
        hashing = pool.submit(_digest, source, size_bytes)
        copy_bytes(source, size_bytes, out)
        if hashing.result() != descriptor.digest:
            raise _corrupt(descriptor)


def _copy_hashing(source: int, descriptor: Descriptor, out: int) -> None:
    """Copy a small blob; it is read once, and written only if it is right."""
    content = os.pread(source, descriptor.size_bytes, 0)
    if digest_of(content) != descriptor.digest:
        raise _corrupt(descriptor)
    write_all(out, content)


def _digest(source: int, size_bytes: int) -> Digest:
    hasher = sha256()
    buffer = memoryview(bytearray(_CHUNK))
    position = 0
    while position < size_bytes:
        count = os.preadv(source, [buffer], position)
        if not count:
            break
        hasher.update(buffer[:count])
        position += count
    return Digest(SHA256_PREFIX + hasher.hexdigest())


def copy_file(source: int, size_bytes: int, out: int) -> int:
    """Append up to so many bytes of a file, from its beginning; say how many there were."""
    there = min(size_bytes, os.fstat(source).st_size)
    copy_bytes(source, there, out)
    return there


def copy_bytes(source: int, size_bytes: int, out: int) -> None:
    """Let the kernel copy, by the first of three ways that these two descriptors allow.

    Raises KernelError.
    """
    position = 0
    for way in (_by_range, _by_sendfile, _by_hand):
        try:
            while position < size_bytes:
                count = way(source, out, position, size_bytes - position)
                if not count:
                    raise KernelError("read", errno.EIO)
                position += count
        except OSError as error:
            if error.errno not in _NOT_COPYABLE or way is _by_hand:
                raise _refused("write", error) from None
        else:
            return


def _by_range(source: int, out: int, position: int, count: int) -> int:
    return os.copy_file_range(source, out, min(count, 64 * _CHUNK), position)


def _by_sendfile(source: int, out: int, position: int, count: int) -> int:
    return os.sendfile(out, source, position, min(count, _CHUNK))


def _by_hand(source: int, out: int, position: int, count: int) -> int:
    content = os.pread(source, min(count, _CHUNK), position)
    write_all(out, content)
    return len(content)


def _corrupt(descriptor: Descriptor) -> StoreError:
    return StoreError(
        f"the blob {descriptor.digest} in the store is corrupt",
        fix="remove it with fsck --repair, then build or pull again",
    )


def _refused(syscall: str, error: OSError) -> KernelError:
    fix = "make room on the disk" if error.errno in {errno.ENOSPC, errno.EDQUOT} else None
    return KernelError(syscall, error.errno or 0, "the output", fix=fix)
