"""A cache in a registry, read: ours, an image that carries one, or another builder's.

Manifests and documents come at once, layers when a step needs them: then all that the step needs,
a few at a time. Everything goes by digest, and nothing is believed before its digest was seen.
"""

import threading
from collections.abc import Callable, Sequence

from builder.concurrency import CancelToken, Pool, Task
from builder.engine.cache_parts import Found, found_parts, root_parts
from builder.errors import InvalidImage
from builder.oci.descriptor import Descriptor, Index, Manifest
from builder.oci.digest import Digest
from builder.oci.provider import Stream
from builder.oci.reference import Reference
from builder.registry.client import Registries
from builder.registry.download import Downloader, Report
from builder.registry.repository import Repository
from builder.store.store import Store


class RemoteBlobs:
    """The blobs of one repository on their way into the store; a provider of them."""

    def __init__(
        self,
        store: Store,
        repositories: Sequence[Repository],
        token: CancelToken,
        pool: Pool,
        report: Report,
    ) -> None:
        """Keep the collaborators; nothing is fetched yet."""
        self._store = store
        self._repositories = repositories
        self._token = token
        self._pool = pool
        self._report = report
        self._tasks: dict[Digest, Task] = {}
        self._lock = threading.Lock()

    def begin(self, descriptors: Sequence[Descriptor]) -> None:
        """Begin to fetch what will be opened soon."""
        for descriptor in descriptors:
            self._task(descriptor)

    def open_blob(self, descriptor: Descriptor) -> Stream:
        """Wait until a blob is here, and open it; what went wrong before is tried again."""
        if not self._store.content.has(descriptor.digest):
            task = self._task(descriptor)
            try:
                task.result()
            finally:
                with self._lock:
                    self._tasks.pop(descriptor.digest, None)
        return self._store.content.open_blob(descriptor)

    def read(self, descriptor: Descriptor, *, limit: int) -> bytes:
        """Fetch a document and read it; raise InvalidImage."""
        if descriptor.size_bytes > limit:
            raise InvalidImage(f"{descriptor.digest} has {descriptor.size_bytes} bytes: too many")
        self.open_blob(descriptor).close()
        return self._store.content.read(descriptor.digest, limit=limit)

    def _task(self, descriptor: Descriptor) -> Task:
        with self._lock:
            found = self._tasks.get(descriptor.digest)
            if found is None:
                found = self._pool.submit(self._fetch, descriptor)
                self._tasks[descriptor.digest] = found
            return found

    def _fetch(self, descriptor: Descriptor) -> None:
        # each by itself: one that is broken ends no other
        downloader = Downloader(self._store, self._repositories, self._token, self._report)
        downloader.fetch(descriptor)


def read_cache(
    registries: Registries,
    reference: Reference,
    opened: Callable[[Sequence[Repository]], RemoteBlobs],
) -> tuple[Found, RemoteBlobs]:
    """Read what a reference stands for; raise RegistryError if it is not there.

    Raises InvalidImage for what is broken.
    """
    named = str(reference.digest or reference.tag)
    first, root = registries.first(reference, lambda one: one.manifest(named))
    others = registries.repositories(reference)
    repositories = (first, *(one for one in others if one.endpoint != first.endpoint))
    blobs = opened(repositories)

    def child(entry: Descriptor) -> Manifest | Index:
        return first.manifest(entry.digest, entry).document

    return found_parts(root_parts(root.document, blobs.read, child)), blobs
