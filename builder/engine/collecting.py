"""What a cache is made of: the records of a build's steps, and the blobs of what they came to.

A step that was never looked at, because one above it hit, has a record only where the hit came
from: it is taken over from there. Otherwise each machine that hits would hand on less than it got.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from builder.engine.cache_document import CachedLayer, CacheDocument, CarriedRecord
from builder.engine.cache_spec import CacheSpec
from builder.graph.vertex import Vertex
from builder.oci.descriptor import MAX_LAYERS, Descriptor
from builder.oci.digest import Digest
from builder.oci.layer import Layer
from builder.oci.media import compression_of
from builder.oci.provider import Provider
from builder.store.snapshotter import Snapshot
from builder.store.store import Store
from builder.values import NamedTuple


class Foreseen(NamedTuple):
    """What a carried cache has for a step: nothing of it need be here."""

    slow: Digest
    layers: tuple[CachedLayer, ...]
    provider: Provider


Elsewhere = Callable[[Digest], Foreseen | None]
"""Looks a fast key up in the caches that were carried here."""


class Step(NamedTuple):
    """A step that came to files: snapshots of this store, or layers that are elsewhere."""

    fast: Digest
    slow: Digest
    name: str
    chain: tuple[Snapshot, ...] = ()
    elsewhere: Foreseen | None = None


class Collection(NamedTuple):
    """A document, and who has those of its blobs that are not here."""

    document: CacheDocument
    providers: Mapping[Digest, Provider] = {}

    def fetch(self, store: Store, blob: Descriptor) -> None:
        """Bring a blob here unless it is, verified."""
        if not store.content.has(blob.digest) and blob.digest in self.providers:
            store.content.fetch(self.providers[blob.digest], blob)


def wanted_steps(
    roots: Iterable[Vertex], fast: Mapping[Vertex, Digest], *, is_minimal: bool
) -> list[Vertex]:
    """List the steps that a cache is about, inputs first: all, or those of the final layers.

    `fast` has the vertices of the graph that was solved, inputs first; roots are known by digest.
    """
    if not is_minimal:
        return list(fast)
    wanted = {root.digest for root in roots}
    found: set[Vertex] = set()
    stack = [vertex for vertex in fast if vertex.digest in wanted]
    while stack:
        vertex = stack.pop()
        if vertex not in found:
            found.add(vertex)
            stack.extend(one.vertex for one in vertex.inputs if one.selectors is None)
    return [vertex for vertex in fast if vertex in found]


def recorded(
    store: Store, order: Iterable[Vertex], fast: Mapping[Vertex, Digest], elsewhere: Elsewhere
) -> Iterator[Step]:
    """Give the steps that came to files, as they are known here or elsewhere."""
    for vertex in order:
        key = fast[vertex]
        record = store.records.find(key)
        if record is None:
            found = elsewhere(key)
            if found is not None:
                yield Step(key, found.slow, vertex.name, elsewhere=found)
        elif record.snapshot is not None:
            chain = store.snapshots.chain(store.snapshots.get(record.snapshot))
            if len(chain) <= MAX_LAYERS:  # what has more cannot be unpacked as an image
                yield Step(key, record.slow, vertex.name, chain)


class Collector:
    """The layers and records of one cache, as they come together."""

    def __init__(self, store: Store, spec: CacheSpec) -> None:
        """Begin with nothing."""
        self._store = store
        self._spec = spec
        self._positions: dict[tuple[Digest, int], int] = {}
        self._numbers: dict[int, int] = {}
        self._layers: list[CachedLayer] = []
        self._records: list[CarriedRecord] = []
        self._providers: dict[Digest, Provider] = {}

    def add(self, step: Step) -> None:
        """Take a step along; the blobs of snapshots are written where there are none."""
        if step.elsewhere is None:
            places = [self._of_snapshot(snapshot) for snapshot in step.chain]
        else:
            places = [self._of_layer(one, step.elsewhere.provider) for one in step.elsewhere.layers]
        self._records.append(CarriedRecord(step.fast, step.slow, step.name, tuple(places)))

    def collection(self) -> Collection:
        """Give what was collected."""
        document = CacheDocument(tuple(self._layers), tuple(self._records))
        return Collection(document, self._providers)

    def _of_snapshot(self, snapshot: Snapshot) -> int:
        if snapshot.id not in self._numbers:
            layer = self._layer(snapshot)
            created_s = int(self._store.snapshots.created_s(snapshot))
            self._numbers[snapshot.id] = self._place(CachedLayer(layer, created_s))
        return self._numbers[snapshot.id]

    def _of_layer(self, one: CachedLayer, provider: Provider) -> int:
        if (one.layer.diff_id, one.created_s) in self._positions:
            return self._positions[one.layer.diff_id, one.created_s]
        self._providers.setdefault(one.layer.descriptor.digest, provider)
        spec, blob = self._spec, one.layer.descriptor
        if spec.is_forced and spec.compression not in {None, compression_of(blob.media_type)}:
            Collection(CacheDocument((), ()), self._providers).fetch(self._store, blob)
            one = one._replace(layer=self._as_wanted(one.layer))
        return self._place(one)

    def _place(self, one: CachedLayer) -> int:
        # equal changes made at another time are another layer: images made of it say when
        identity = one.layer.diff_id, one.created_s
        position = self._positions.setdefault(identity, len(self._layers))
        if position == len(self._layers):
            self._layers.append(one)
        return position

    def _layer(self, snapshot: Snapshot) -> Layer:
        """Find a snapshot's blob as the cache wants it: a pulled one is taken as it came."""
        layers, wanted = self._store.layers, self._spec.compression
        found = layers.find(snapshot) if wanted is None else layers.pulled(snapshot)
        if found is None:
            return layers.ensure(snapshot, wanted or "gzip", self._spec.level)
        return self._as_wanted(found)

    def _as_wanted(self, layer: Layer) -> Layer:
        wanted = self._spec.compression
        is_kept = wanted is None or not self._spec.is_forced
        if is_kept or compression_of(layer.descriptor.media_type) == wanted:
            return layer
        from builder.exporters.convert import rewritten

        return rewritten(self._store, layer, wanted or "gzip", self._spec.level)


def collected(
    store: Store,
    order: Iterable[Vertex],
    fast: Mapping[Vertex, Digest],
    spec: CacheSpec,
    elsewhere: Elsewhere,
) -> Collection:
    """Collect the records of some steps, and write the layers that they come to as blobs."""
    collector = Collector(store, spec)
    for step in recorded(store, order, fast, elsewhere):
        collector.add(step)
    return collector.collection()
