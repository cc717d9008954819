"""A directory that carries cache between machines: an OCI image layout, and what may be in it.

Its index names one document for each tag: what it lists is kept, any other blob is removed when the
next export ends. Bytes are verified whenever they are read. Two exports at once take turns.

Spec: OCI image-spec, image-layout.md.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from builder.errors import InvalidImage, KernelError, NotFound
from builder.exporters.layout import INDEX_FILE, LAYOUT_CONTENT, LAYOUT_FILE, REF_NAME
from builder.oci import json, media
from builder.oci.descriptor import Descriptor, Index, parse_manifest_or_index, to_json
from builder.oci.digest import SHA256_PREFIX, Digest, digest_of, hex_of, parse_digest
from builder.oci.provider import Stream
from builder.store import atomic

BLOBS = "blobs/sha256"
LOCK_FILE = "lock"
MAX_INDEX_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

Reach = Callable[[Descriptor], Iterable[Digest]]


class CacheLayout:
    """A layout directory; a provider of its blobs."""

    def __init__(self, path: str) -> None:
        """Name the directory; nothing is opened yet."""
        self.path = path

    @contextmanager
    def written(self) -> Iterator[None]:
        """Make the layout if need be, and hold it against other writers; raise KernelError."""
        try:
            os.makedirs(f"{self.path}/{BLOBS}", exist_ok=True)
            fd = os.open(f"{self.path}/{LOCK_FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise KernelError("open", error.errno or 0, self.path) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not os.path.exists(f"{self.path}/{LAYOUT_FILE}"):
                atomic.write(f"{self.path}/{LAYOUT_FILE}", LAYOUT_CONTENT, mode_bits=0o644)
            yield
        finally:
            os.close(fd)

    def entries(self) -> tuple[Descriptor, ...]:
        """Read the index; NotFound if there is no layout, InvalidImage for a broken one."""
        content = self._read(f"{self.path}/{INDEX_FILE}", MAX_INDEX_BYTES)
        index = parse_manifest_or_index(content, media.INDEX)
        if not isinstance(index, Index):
            raise InvalidImage(f"{self.path}/{INDEX_FILE} is no index")
        return index.manifests

    def entry(self, media_type: str, tag: str) -> Descriptor:
        """Find the document of a kind with a tag; NotFound if there is none."""
        for found in self.entries():
            kind = found.artifact_type or found.media_type
            if kind == media_type and found.annotation(REF_NAME) == tag:
                return found
        raise NotFound(f"{self.path} holds no {media_type} named {tag!r}")

    def has(self, descriptor: Descriptor) -> bool:
        """Whether a blob is here, by name and size."""
        try:
            status = os.stat(self._blob(descriptor.digest), follow_symlinks=False)
        except OSError:
            return False
        return status.st_size == descriptor.size_bytes

    def read(self, descriptor: Descriptor, *, limit: int) -> bytes:
        """Read a blob whole and verify it; raise InvalidImage."""
        if descriptor.size_bytes > limit:
            raise InvalidImage(f"{descriptor.digest} has {descriptor.size_bytes} bytes: too many")
        content = self._read(self._blob(descriptor.digest), descriptor.size_bytes)
        if digest_of(content) != descriptor.digest:
            raise InvalidImage(f"the blob {descriptor.digest} in {self.path} is corrupt")
        return content

    def open_blob(self, descriptor: Descriptor) -> Stream:
        """Open a blob; its bytes are not verified by this.

        Raises NotFound.
        """
        try:
            return open(os.open(self._blob(descriptor.digest), _READ), "rb", buffering=0)
        except OSError:
            raise NotFound(f"{self.path} does not hold the blob {descriptor.digest}") from None

    def add(self, content: bytes, media_type: str) -> Descriptor:
        """Write a blob from memory."""
        descriptor = Descriptor(media_type, digest_of(content), len(content))
        if not self.has(descriptor):
            atomic.write(self._blob(descriptor.digest), content, mode_bits=0o644, is_durable=False)
        return descriptor

    def copy(self, descriptor: Descriptor, source: Stream) -> None:
        """Write a blob from a stream that is trusted to be what it says; raise KernelError."""
        if self.has(descriptor):
            return
        path = self._blob(descriptor.digest)
        beside = f"{path}.{os.getpid()}"
        try:
            with open(beside, "wb", buffering=0) as out:
                while piece := source.read(_PIECE_BYTES):
                    atomic.write_all(out.fileno(), piece)
            os.rename(beside, path)
        except OSError as error:
            raise KernelError("write", error.errno or 0, path) from None

    def publish(self, entries: Iterable[Descriptor], reach: Reach) -> None:
        """Put entries into the index in place of those of the same kind and tag, and tidy up.

        `reach` lists the blobs that an entry needs; what no entry needs is removed.
        """
        fresh = list(entries)
        replaced = {(e.artifact_type or e.media_type, e.annotation(REF_NAME)) for e in fresh}
        try:
            known = self.entries()
        except (NotFound, InvalidImage):
            known = ()
        kept = [
            e
            for e in known
            if (e.artifact_type or e.media_type, e.annotation(REF_NAME)) not in replaced
        ]
        index = Index(media.INDEX, (*kept, *fresh))
        atomic.write(f"{self.path}/{INDEX_FILE}", to_json(index), mode_bits=0o644)
        needed: set[Digest] = set()
        for entry in index.manifests:
            needed.add(entry.digest)
            try:
                needed.update(reach(entry))
            except (NotFound, InvalidImage):
                continue  # a broken one needs nothing
        self._sweep(needed)

    def _sweep(self, needed: set[Digest]) -> None:
        for name in os.listdir(f"{self.path}/{BLOBS}"):
            try:
                digest = parse_digest(SHA256_PREFIX + name)
            except InvalidImage:
                digest = Digest("")
            if digest not in needed:
                os.unlink(f"{self.path}/{BLOBS}/{name}")

    def _blob(self, digest: Digest) -> str:
        return f"{self.path}/{BLOBS}/{hex_of(digest)}"

    def _read(self, path: str, limit: int) -> bytes:
        try:
            fd = os.open(path, _READ)
        except OSError:
            raise NotFound(f"{path} is not there") from None
        try:
            content = atomic.read_all(fd, limit)
        except OSError as error:
            raise KernelError("read", error.errno or 0, path) from None
        finally:
            os.close(fd)
        if len(content) > limit:
            raise InvalidImage(f"{path} is longer than it may be")
        return content


def members(value: json.Object, name: str) -> list[json.Object]:
    """Read a list of objects of a document; InvalidImage if it is none."""
    found = value.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InvalidImage(f"{name} is not a list of objects")
    return [one for one in found if isinstance(one, dict)]
