"""Opening and writing carried caches: `--cache-from` and `--cache-to`.

No failure here fails a build: what cannot be read is a warning and no cache, what cannot be written
is a warning too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from builder.engine import cache_document, mount_files
from builder.engine.cache_document import CachedLayer, CacheDocument, CarriedRecord
from builder.engine.cache_layout import CacheLayout
from builder.engine.cache_reach import reach_of
from builder.engine.cache_spec import CacheSpec, parse_cache
from builder.engine.carried_cache import CarriedCache
from builder.errors import BuilderError, Cancelled
from builder.exporters.layout import REF_NAME
from builder.graph.vertex import Vertex
from builder.oci import media
from builder.oci.digest import Digest
from builder.solver.protocols import Cache
from builder.store.store import Store

if TYPE_CHECKING:
    from builder.engine.local import LocalEngine

Warn = Callable[[str], None]


def open_caches(engine: "LocalEngine", texts: Sequence[str]) -> list[Cache]:
    """Open what `--cache-from` names, in its order; what is not there is told."""
    found: list[Cache] = []
    for spec in (parse_cache(text, "--cache-from") for text in texts):
        try:
            opened = _opened(engine, spec)
        except Cancelled:
            raise
        except BuilderError as error:
            engine.warn(f"cache {spec} is not used: {error.what}")
            continue
        if opened is not None:
            found.append(opened)
    return found


def write_caches(
    engine: "LocalEngine",
    texts: Sequence[str],
    roots: Sequence[Vertex],
    fast: Mapping[Vertex, Digest],
) -> None:
    """Write the caches that `--cache-to` names from what the build's steps came to."""
    for spec in (parse_cache(text, "--cache-to") for text in texts):
        if spec.type != "local":
            engine.warn(f"cache {spec} is not written: only type=local can be, so far")
            continue
        try:
            export_cache(engine.store, spec, roots, fast)
        except Cancelled:
            raise
        except BuilderError as error:
            engine.warn(f"cache {spec} is not written: {error.what}")


def export_cache(
    store: Store, spec: CacheSpec, roots: Sequence[Vertex], fast: Mapping[Vertex, Digest]
) -> None:
    """Write one directory: blobs first, then the index that names them.

    `fast` has the vertices of the graph that was solved, inputs first; roots are known by digest.
    """
    wanted = {root.digest for root in roots}
    order = list(fast)
    if spec.mode == "min":
        order = _lineage([vertex for vertex in order if vertex.digest in wanted])
    document = collected(store, order, fast, spec)
    layout = CacheLayout(spec.place)
    with layout.written():
        for one in document.layers:
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


def collected(
    store: Store, order: Iterable[Vertex], fast: Mapping[Vertex, Digest], spec: CacheSpec
) -> CacheDocument:
    """Collect the records of some vertices, and write the layers that they come to as blobs."""
    positions: dict[Digest, int] = {}
    layers: list[CachedLayer] = []
    records: list[CarriedRecord] = []
    for vertex in order:
        record = store.records.find(fast[vertex])
        if record is None or record.snapshot is None:
            continue
        chain = store.snapshots.chain(store.snapshots.get(record.snapshot))
        blobs = store.layers.ensure_all(chain[-1], spec.compression, spec.level)
        numbers = []
        for snapshot, layer in zip(chain, blobs, strict=True):
            number = positions.setdefault(layer.diff_id, len(layers))
            if number == len(layers):
                layers.append(CachedLayer(layer, int(store.snapshots.created_s(snapshot))))
            numbers.append(number)
        records.append(CarriedRecord(fast[vertex], record.slow, vertex.name, tuple(numbers)))
    return CacheDocument(tuple(layers), tuple(records))


def _lineage(roots: Iterable[Vertex]) -> list[Vertex]:
    """List what the final images' layers are made by, without the stages that they copy from."""
    found: dict[Vertex, None] = {}
    stack = list(roots)
    while stack:
        vertex = stack.pop()
        if vertex not in found:
            found[vertex] = None
            stack.extend(one.vertex for one in vertex.inputs if one.selectors is None)
    return list(found)[::-1]


def _opened(engine: "LocalEngine", spec: CacheSpec) -> Cache | None:
    if spec.type != "local":
        engine.warn(f"cache {spec} is not used: only type=local can be, so far")
        return None
    layout = CacheLayout(spec.place)
    if any(entry.media_type == mount_files.MOUNT_TYPE for entry in layout.entries()):
        mount_files.import_mounts(engine.store, layout)
    document = cache_document.load(layout, spec.tag)
    return CarriedCache(
        engine.store, document, layout, name=str(spec), warn=engine.warn, token=engine.token
    )
