"""Base images: pins for FROM, from the store or a registry, and their blobs when a step wants them.

A name in the store comes first, then what its registry last said; with `--pull` the registry is
asked, always. Layers are fetched when something needs them, never before: then all of them at once,
and each is unpacked as soon as it is there.
"""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from builder.concurrency import CancelToken, Pool, Task
from builder.dockerfile.request import ImageNeed, ImagePin
from builder.engine.steps import shown_blob
from builder.errors import BuilderError, InvalidImage, NotFound
from builder.events import Failed, Finished, Progress, Sink, Started
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    describe,
    parse_manifest,
    parse_manifest_or_index,
)
from builder.oci.digest import Digest, key, parse_digest
from builder.oci.provider import Provider, Stream
from builder.oci.reference import Reference, parse_reference
from builder.store.store import Store

if TYPE_CHECKING:
    from builder.registry.client import Registries

_CONNECTIONS = 4
_MAX_LISTED = 5


class BaseImages:
    """The base images of one build; a context manager that ends transfers and connections."""

    def __init__(
        self,
        store: Store,
        token: CancelToken,
        sink: Sink,
        *,
        is_pulling: bool = False,
        is_offline: bool = False,
    ) -> None:
        """Keep the collaborators; nothing is asked yet. Offline, nothing ever is."""
        self.store = store
        self.roots: dict[str, Digest] = {}
        """What the names that were pinned stand for: manifests, and indexes where there are any."""
        self.is_offline = is_offline
        self._token = token
        self._sink = sink
        self._is_pulling = is_pulling
        self._registries: Registries | None = None
        self._transfers: dict[str, LayerTransfer] = {}
        self._pool = Pool(_CONNECTIONS)
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        """Return the bases themselves."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop what is still being fetched, and close the connections."""
        for transfer in self._transfers.values():
            transfer.stop()
        self._pool.__exit__(kind, error, trace)
        if self._registries is not None:
            self._registries.__exit__(kind, error, trace)

    def pin(self, need: ImageNeed, locked: Digest | None = None) -> ImagePin:
        """Find an image by name: in the store, as last seen, or in its registry.

        `locked` is what the name has to stand for, whatever its registry says now.
        """
        reference = parse_reference(need.name)
        if locked is not None:
            pin = self._kept(locked, need)
            return self._asked(reference._replace(digest=locked), need) if pin is None else pin
        if not self._is_pulling or reference.digest is not None:
            pin = self._known(reference, need)
            if pin is not None:
                return pin
        return self._asked(reference, need)

    def provider(self, name: str) -> Provider | None:
        """Give where the layers of a pinned base come from; None for what no registry has.

        `name` is what `pin` resolved to: a reference, `@`, and the digest of a manifest.
        """
        written, _, manifest = name.rpartition("@")
        try:
            reference, digest = parse_reference(written), parse_digest(manifest)
        except BuilderError:
            return None
        with self._lock:
            if name not in self._transfers:
                layers = self._layers(digest)
                self._transfers[name] = LayerTransfer(self, self._pool, reference, layers)
            return self._transfers[name]

    def fetch(self, name: str, manifest: Digest) -> None:
        """Fetch what is missing of a base's layers: an image that stands on it is to be kept."""
        layers = self._layers(manifest)
        if all(self.store.content.has(layer.digest) for layer in layers):
            return
        provider = self.provider(name)
        if provider is not None:
            for layer in layers:
                provider.open_blob(layer).close()

    @property
    def registries(self) -> "Registries":
        """The registries, opened at the first use."""
        with self._lock:
            if self._registries is None:
                from builder.registry.client import Registries

                self._registries = Registries(os.environ, self._token)
            return self._registries

    @property
    def token(self) -> CancelToken:
        """What cancels the build."""
        return self._token

    @property
    def sink(self) -> Sink:
        """Who is told of transfers."""
        return self._sink

    def _layers(self, manifest: Digest) -> tuple[Descriptor, ...]:
        content = self.store.content.read(manifest, limit=MAX_MANIFEST_BYTES)
        return parse_manifest(content).layers

    def _known(self, reference: Reference, need: ImageNeed) -> ImagePin | None:
        """Give what is here under a name, if it has the platform."""
        images = self.store.images
        found = images.get(reference)
        descriptor = None if found is None else found.descriptor
        if descriptor is None:
            source = images.source(reference)
            descriptor = None if source is None else source[0]
        return None if descriptor is None else self._chosen(descriptor, need)

    def _kept(self, root: Digest, need: ImageNeed) -> ImagePin | None:
        """Give an image of the store by the digest of its root, under whatever name it is there."""
        if not self.store.content.has(root):
            return None
        content = self.store.content.read(root, limit=MAX_MANIFEST_BYTES)
        descriptor = describe(content, parse_manifest_or_index(content).media_type)
        if descriptor.digest != root:
            raise InvalidImage(f"the blob {root} is damaged", fix="repair with `builder fsck`")
        pin = self._chosen(descriptor, need)
        if pin is not None:
            pinned = parse_reference(need.name)._replace(digest=root)
            self.store.images.remember_source(pinned, descriptor)
        return pin

    def _chosen(self, descriptor: Descriptor, need: ImageNeed) -> ImagePin | None:
        """Choose the platform, if it is here with its config."""
        images = self.store.images
        try:
            chosen, manifest = images.manifest(descriptor, need.platform)
            config = images.config(manifest)
        except NotFound:
            return None  # another platform, or parts were removed: the registry has all
        self.roots[need.name] = descriptor.digest
        return ImagePin(chosen.digest, config, f"{need.name}@{chosen.digest}")

    def _asked(self, reference: Reference, need: ImageNeed) -> ImagePin:
        """Ask the registry; manifest and config are kept, layers wait until they are needed."""
        from builder.registry.pull import Source

        if self.is_offline:
            here = f"as {need.platform}" if self.store.images.get(reference) else "at all"
            raise NotFound(
                f"{reference.familiar} is not here {here}, and the build is offline",
                fix=f"fetch it first: builder pull {reference.familiar}",
            )
        source = Source(self.store, self.registries, reference, self._token)
        known = self.store.images.source(reference)
        located = source.locate(need.platform, None if known is None else known[0])
        config = source.config(located)
        source.keep_documents(located)
        self.store.images.remember_source(reference, located.root.descriptor)
        self.roots[need.name] = located.root.descriptor.digest
        digest = located.chosen.descriptor.digest
        return ImagePin(digest, config, f"{need.name}@{digest}")


class LayerTransfer:
    """The layers of one base on their way here: a provider that waits for the one it is asked."""

    def __init__(
        self, bases: BaseImages, pool: Pool, reference: Reference, layers: tuple[Descriptor, ...]
    ) -> None:
        """Keep what is to be fetched; it begins when the first layer is asked for."""
        self._bases = bases
        self._pool = pool
        self._reference = reference
        self._layers = layers
        self._tasks: dict[Digest, Task] = {}
        self._left = 0
        self._is_stopped = threading.Event()
        self._lock = threading.Lock()
        self._step = key("internal/1", f"pulling {reference}")

    def open_blob(self, descriptor: Descriptor) -> Stream:
        """Wait until a layer is here, and open it."""
        content = self._bases.store.content
        if not content.has(descriptor.digest):
            with self._lock:
                if not self._tasks:
                    self._begin()
            task = self._tasks.get(descriptor.digest)
            if task is not None:
                task.result()
        return content.open_blob(descriptor)

    def stop(self) -> None:
        """Fetch nothing more."""
        self._is_stopped.set()

    def _begin(self) -> None:
        from builder.registry.download import Downloader

        content = self._bases.store.content
        missing = {one.digest: one for one in self._layers if not content.has(one.digest)}
        if self._bases.is_offline:
            name = self._reference.familiar
            raise NotFound(
                f"{len(missing)} layers of {name} are not here, and the build is offline:"
                f" {', '.join(list(missing)[:_MAX_LISTED])}",
                fix=f"fetch them first: builder pull {name}",
            )
        sink, step = self._bases.sink, self._step
        downloader = Downloader(
            self._bases.store,
            self._bases.registries.repositories(self._reference),
            self._bases.token,
            lambda item, current, total: sink(Progress(step, shown_blob(item), current, total)),
        )
        downloader.stop.watch(self._is_stopped)
        self._left = len(missing)
        sink(Started(step, f"pulling {self._reference.familiar}", time.monotonic_ns()))
        for layer in missing.values():
            self._tasks[layer.digest] = self._pool.submit(self._fetched, downloader.fetch, layer)

    def _fetched(self, fetch: Callable[[Descriptor], None], layer: Descriptor) -> None:
        try:
            fetch(layer)
        except BuilderError as error:
            self._bases.sink(Failed(self._step, error.what, time.monotonic_ns()))
            raise
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._bases.sink(Finished(self._step, time.monotonic_ns()))
