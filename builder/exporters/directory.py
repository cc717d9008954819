"""A layout as a directory. One that exists is added to: other images in it stay.

Each file appears whole under its name, the index last; after a failure the new files are gone and
the index is as it was.
"""

import os
import stat
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Self

from builder.errors import Conflict, KernelError
from builder.exporters.blobs import Blobs, write_all
from builder.exporters.layout import IMAGE_NAME, REF_NAME, index_bytes
from builder.oci import media
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    parse_manifest_or_index,
)

_BLOB_MODE = 0o444
_FILE_MODE = 0o644


class DirectorySink:
    """Writes a layout's files below a directory; a context manager that undoes a failure."""

    def __init__(self, path: str) -> None:
        """Make the directory if need be."""
        self._path = path
        self._made: list[str] = []
        self._index: tuple[str, Index] | None = None
        try:
            os.makedirs(os.path.join(path, "blobs", "sha256"), exist_ok=True)
        except OSError as error:
            raise KernelError("mkdir", error.errno or 0, path) from None

    def __enter__(self) -> Self:
        """Return the sink."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """After a failure, remove what was added."""
        if kind is not None:
            for path in self._made:
                os.unlink(path)

    def add_blob(self, name: str, descriptor: Descriptor, blobs: Blobs) -> None:
        """Write a blob, unless a file of its size is there under its digest."""
        path = os.path.join(self._path, name)
        if not _has_size(path, descriptor.size_bytes):
            self._write(path, _BLOB_MODE, lambda out: blobs.copy(descriptor, out))

    def add_file(self, name: str, content: bytes) -> None:
        """Write a small file, over an older one."""
        path = os.path.join(self._path, name)
        self._write(path, _FILE_MODE, lambda out: write_all(out, content))

    def add_index(self, name: str, index: Index) -> None:
        """Keep the index for `finish`: what it names must be there first."""
        self._index = (os.path.join(self._path, name), index)

    def finish(self) -> None:
        """Add the images to the directory's index; a name moves to its new image."""
        if self._index is None:
            return
        path, index = self._index
        merged = index._replace(manifests=(*_kept(path, index), *index.manifests))
        self._write(path, _FILE_MODE, lambda out: write_all(out, index_bytes(merged)))

    def _write(self, path: str, mode_bits: int, fill: Callable[[int], None]) -> None:
        temporary = f"{path}.{os.getpid()}.tmp"
        is_new = not os.path.lexists(path)
        try:
            out = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            )
        except OSError as error:
            raise KernelError("open", error.errno or 0, path) from None
        self._made.append(temporary)
        try:
            fill(out)
            os.fchmod(out, mode_bits)
        finally:
            os.close(out)
        os.rename(temporary, path)
        self._made.pop()
        if is_new:
            self._made.append(path)


def _kept(path: str, index: Index) -> tuple[Descriptor, ...]:
    """Give the entries of an older index that the new one does not replace."""
    names = {entry.annotation(IMAGE_NAME) for entry in index.manifests} - {None}
    tags = {entry.annotation(REF_NAME) for entry in index.manifests} - {None}
    digests = {entry.digest for entry in index.manifests}
    return tuple(
        entry
        for entry in _existing(path)
        if entry.annotation(IMAGE_NAME) not in names
        and not (entry.annotation(IMAGE_NAME) is None and _is_replaced(entry, tags, digests))
    )


def _is_replaced(entry: Descriptor, tags: Collection[str | None], digests: Collection[str]) -> bool:
    """Whether an entry that has a tag at most is that of a new one."""
    tag = entry.annotation(REF_NAME)
    return tag in tags if tag is not None else entry.digest in digests


def _existing(path: str) -> tuple[Descriptor, ...]:
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
    parsed = parse_manifest_or_index(content, media.INDEX)
    if not isinstance(parsed, Index):
        raise Conflict(
            f"{path} is not the index of an image layout", fix="choose another directory"
        )
    return parsed.manifests


def _has_size(path: str, size_bytes: int) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes
