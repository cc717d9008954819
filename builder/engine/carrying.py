"""Opening and writing carried caches: `--cache-from` and `--cache-to`.

What cannot be read is told and is no cache: that never fails a build. What cannot be written is an
error, raised when all else is done and the image is kept, unless the user wants it ignored.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from builder.concurrency import Pool
from builder.engine import cache_document, mount_files
from builder.engine.cache_document import CacheDocument
from builder.engine.cache_layout import CacheLayout
from builder.engine.cache_parts import Found, found_parts, layout_parts, stored_parts
from builder.engine.cache_reach import reach_of
from builder.engine.cache_spec import CacheSpec, parse_cache
from builder.engine.carried_cache import Begin, CarriedCache, LateCache
from builder.engine.collecting import Collection, Foreseen, collected, wanted_steps
from builder.engine.steps import reported
from builder.errors import BuilderError, Cancelled, NotFound
from builder.events import Warned
from builder.exporters.layout import REF_NAME
from builder.graph.vertex import Vertex
from builder.oci import media
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.provider import Provider
from builder.oci.reference import parse_reference
from builder.store.images import StoredImage
from builder.store.store import Store

if TYPE_CHECKING:
    from builder.engine.bases import BaseImages

NO_CACHE = "it carries no cache; images do that are built with --cache-to type=inline"


def _nothing(_blobs: Sequence[Descriptor]) -> None:
    """Begin nothing: what is asked for is here."""


class Carrier:
    """The carried caches of one build, over the registries of its base images."""

    def __init__(self, bases: "BaseImages", pool: Pool, *, has_mounts: bool = True) -> None:
        """Keep the collaborators. `pool` fetches, and does nothing that waits for fetching.

        Without `has_mounts` cache mounts stay where they are.
        """
        self._bases = bases
        self._store = bases.store
        self._token = bases.token
        self._pool = pool
        self._has_mounts = has_mounts
        self._caches: list[LateCache] = []

    def _warn(self, text: str) -> None:
        self._bases.sink(Warned(text))

    def opened(self, texts: Sequence[str], *, is_early: bool) -> list[LateCache]:
        """Give what `--cache-from` names, in its order; opened when first asked, or at once."""
        for spec in (parse_cache(text, "--cache-from") for text in texts):
            cache = LateCache(str(spec), lambda spec=spec: self._opened(spec))  # type: ignore[misc]
            if is_early or spec.type == "local":
                cache.open()
            self._caches.append(cache)
        return self._caches

    def elsewhere(self, key: Digest) -> Foreseen | None:
        """Tell what the carried caches have for a key."""
        for cache in filter(None, (one.open() for one in self._caches)):
            found = cache.foresee(key)
            if found is not None:
                return found
        return None

    def write(
        self, texts: Sequence[str], roots: Sequence[Vertex], fast: Mapping[Vertex, Digest]
    ) -> None:
        """Write the caches that `--cache-to` names; raise the first error that is not ignored."""
        failure: BuilderError | None = None
        for spec in (parse_cache(text, "--cache-to") for text in texts):
            if spec.type == "inline":
                continue  # it went with the image
            try:
                self._write(spec, roots, fast)
            except Cancelled:
                raise
            except BuilderError as error:
                what = f"cache {spec} is not written: {error.what}"
                if spec.is_error_ignored:
                    self._warn(what)
                    continue
                fix = error.fix or "add ignore-error=true to go on without it"
                failure = failure or BuilderError(f"{what}; the image itself is kept", fix=fix)
        if failure is not None:
            raise failure

    def _opened(self, spec: CacheSpec) -> CarriedCache | None:
        try:
            if spec.type == "local":
                return self._layout(spec)
            image = self._store.images.get(parse_reference(spec.place)) if spec.is_bare else None
            return self._remote(spec) if image is None else self._image(spec, image)
        except BuilderError as error:
            self._token.check()
            self._warn(f"cache {spec} is not used: {error.what}")
            return None

    def _layout(self, spec: CacheSpec) -> CarriedCache | None:
        layout = CacheLayout(spec.place)
        if any(entry.media_type == mount_files.MOUNT_TYPE for entry in layout.entries()):
            self._import(spec, lambda: mount_files.import_mounts(self._store, layout))
        try:
            document = cache_document.load(layout, spec.tag)
        except NotFound:
            found = found_parts(layout_parts(layout))
            if found.document is None and not found.foreign:
                raise
            return self._useful(spec, found, layout)
        return self._carried(str(spec), document, layout)

    def _image(self, spec: CacheSpec, image: StoredImage) -> CarriedCache | None:
        """Take an image of the store, as a bare word means it first."""
        found = found_parts(stored_parts(self._store, image.descriptor))
        return self._useful(spec, found, self._store.content, name=f"image:{spec.place}")

    def _remote(self, spec: CacheSpec) -> CarriedCache | None:
        from builder.engine.pulls import transfer_report
        from builder.engine.remote_cache import RemoteBlobs, read_cache

        reference, sink = parse_reference(spec.place), self._bases.sink
        if self._bases.is_offline:
            raise BuilderError("the build is offline")
        with reported(sink, f"importing cache from {reference.familiar}") as step:
            report = transfer_report(sink, step)
            found, blobs = read_cache(
                self._bases.registries,
                reference,
                lambda places: RemoteBlobs(self._store, places, self._token, self._pool, report),
            )
            if found.mounts:
                from builder.engine.mount_packs import unpacked_mounts

                self._import(spec, lambda: unpacked_mounts(self._store, found.mounts, blobs))
        return self._useful(spec, found, blobs, blobs.begin)

    def _carried(
        self,
        name: str,
        document: CacheDocument,
        provider: Provider,
        begin: Begin = _nothing,
    ) -> CarriedCache:
        return CarriedCache(
            self._store,
            document,
            provider,
            name=name,
            warn=self._warn,
            token=self._token,
            begin=begin,
        )

    def _useful(
        self,
        spec: CacheSpec,
        found: Found,
        provider: Provider,
        begin: Begin = _nothing,
        *,
        name: str = "",
    ) -> CarriedCache | None:
        """Take what was found, or say why it is no cache for us."""
        if found.document is not None:
            return self._carried(name or str(spec), found.document, provider, begin)
        why = "; ".join(self._described(found)) or NO_CACHE
        self._warn(f"cache {spec} is not used: {why}")
        return None

    def _described(self, found: Found) -> list[str]:
        """Say what other builders' caches are, and how many of their layers are here."""
        texts = []
        for one in found.foreign:
            here = sum(self._store.content.has(layer) for layer in one.layers)
            texts.append(f"{one}; {here} of the layers are here already" if here else str(one))
        return list(dict.fromkeys(texts))

    def _import(self, spec: CacheSpec, fill: Callable[[], object]) -> None:
        """Fill the cache mounts that travel along; without them all else is as useful."""
        if not self._has_mounts:
            return
        try:
            fill()
        except BuilderError as error:
            self._token.check()
            self._warn(f"cache mounts of {spec} are not used: {error.what}")

    def _write(
        self, spec: CacheSpec, roots: Sequence[Vertex], fast: Mapping[Vertex, Digest]
    ) -> None:
        steps = wanted_steps(roots, fast, is_minimal=spec.mode == "min")
        collection = collected(self._store, steps, fast, spec, self.elsewhere)
        try:
            self._write_collection(collection, spec)
        except BuilderError:
            self._token.check()
            if not collection.providers:
                raise
            # perhaps what is handed on is broken: what is known here is not
            collection = collected(self._store, steps, fast, spec, lambda _key: None)
            self._write_collection(collection, spec)

    def _write_collection(self, collection: Collection, spec: CacheSpec) -> None:
        if spec.type == "local":
            write_layout(self._store, collection, spec)
            return
        from builder.engine.shipment import push_cache

        push_cache(self._bases, collection, spec)


def write_layout(store: Store, collection: Collection, spec: CacheSpec) -> None:
    """Write one directory: blobs first, then the index that names them."""
    layout, document = CacheLayout(spec.place), collection.document
    with layout.written():
        for one in document.layers:
            if layout.has(one.layer.descriptor):
                continue
            collection.fetch(store, one.layer.descriptor)
            stream = store.content.open_blob(one.layer.descriptor)
            try:
                layout.copy(one.layer.descriptor, stream)
            finally:
                stream.close()
        config = layout.add(cache_document.to_json(document), cache_document.CONFIG_TYPE)
        artifact = layout.add(cache_document.artifact(config, document.layers), media.MANIFEST)
        entries = [
            artifact._replace(
                artifact_type=cache_document.CACHE_TYPE, annotations=((REF_NAME, spec.tag),)
            )
        ]
        if spec.has_mounts:
            mounts, _done = mount_files.export_mounts(store, layout, mount_files.chosen(store, ()))
            entries += mounts
        layout.publish(entries, reach_of(layout))
