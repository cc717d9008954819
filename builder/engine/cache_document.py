"""What a carried cache says: records with both keys, and the layers that each of them comes to.

The document is the config of an OCI artifact whose layers are all blobs that it names, so that a
registry keeps them. It is trusted for nothing but what a key stands for; layers are verified by
digest and diff ID when they are unpacked.
"""

from collections.abc import Iterator, Sequence

from builder.engine.cache_layout import CacheLayout, members
from builder.errors import InvalidImage
from builder.oci import json, media
from builder.oci.config import ImageConfig
from builder.oci.descriptor import (
    MAX_LAYERS,
    Descriptor,
    Manifest,
    descriptor_json,
    parse_descriptor,
)
from builder.oci.descriptor import to_json as manifest_json
from builder.oci.digest import Digest, parse_digest
from builder.oci.layer import Layer
from builder.oci.platform import Platform
from builder.text import visible
from builder.values import NamedTuple

CACHE_TYPE = "application/vnd.builder.cache.v1"
CONFIG_TYPE = "application/vnd.builder.cache.config.v1+json"
MAX_DOCUMENT_BYTES = 32 << 20
MAX_RECORDS = 100_000
MAX_CREATED_S = 253_402_300_799
"""The end of the year 9999: what comes after it cannot be written as a time."""
_MAX_NAME = 1000
_ANYWHERE = Platform("linux", "")


class CachedLayer(NamedTuple):
    """A layer, and when it was first made: images made of it elsewhere are the same to the byte."""

    layer: Layer
    created_s: int


class CarriedRecord(NamedTuple):
    """What a step came to, under its fast and its slow key."""

    fast: Digest
    slow: Digest
    name: str
    layers: tuple[int, ...]
    """Positions in the document's layers, the lowest first."""


class CacheDocument(NamedTuple):
    """A whole carried cache."""

    layers: tuple[CachedLayer, ...]
    records: tuple[CarriedRecord, ...]

    def image(self, record: CarriedRecord) -> tuple[Manifest, ImageConfig]:
        """Describe a record's layers as an image, to unpack it as one."""
        layers = [self.layers[position].layer for position in record.layers]
        config = ImageConfig(_ANYWHERE, diff_ids=tuple(layer.diff_id for layer in layers))
        blobs = tuple(layer.descriptor for layer in layers)
        return Manifest(
            media.MANIFEST, Descriptor(media.CONFIG, layers[0].diff_id, 0), blobs
        ), config


def to_json(document: CacheDocument) -> bytes:
    """Write a document; equal ones give equal bytes."""
    layers = [
        {
            **descriptor_json(one.layer.descriptor._replace(annotations=(), urls=())),
            "diffID": one.layer.diff_id,
            "created": one.created_s,
        }
        for one in document.layers
    ]
    records = [
        {"fast": r.fast, "slow": r.slow, "name": r.name, "layers": list(r.layers)}
        for r in document.records
    ]
    return json.dumps({"version": 1, "layers": layers, "records": records})


def parse(content: bytes) -> CacheDocument:
    """Read a document; InvalidImage for one that is broken or of another version."""
    value = json.load_object(content, what="the cache", max_bytes=MAX_DOCUMENT_BYTES)
    if json.integer(value, "version") != 1:
        raise InvalidImage("the cache is of a version that is not known")
    layers = tuple(_layer(one) for one in members(value, "layers"))
    records = json.members(value, "records", limit=MAX_RECORDS)
    return CacheDocument(layers, tuple(_record(one, len(layers)) for one in records))


def joined(documents: Sequence[CacheDocument]) -> CacheDocument:
    """Make one document of several."""
    layers: list[CachedLayer] = []
    records: list[CarriedRecord] = []
    for document in documents:
        start = len(layers)
        layers += document.layers
        records += (
            record._replace(layers=tuple(start + position for position in record.layers))
            for record in document.records
        )
    return CacheDocument(tuple(layers), tuple(records))


def shown_name(text: str) -> str:
    """Make the name that a stranger's document gives a step safe to keep and to show."""
    return visible(text[:_MAX_NAME])


def artifact(document: Descriptor, layers: Sequence[CachedLayer]) -> bytes:
    """Write the manifest that keeps a document and its layers together."""
    blobs = {one.layer.descriptor.digest: one.layer.descriptor for one in layers}
    manifest = Manifest(media.MANIFEST, document, tuple(blobs.values()), artifact_type=CACHE_TYPE)
    return manifest_json(manifest)


def load(layout: CacheLayout, tag: str) -> CacheDocument:
    """Read the cache of a tag from a layout, verified."""
    return parse(_document_bytes(layout, layout.entry(CACHE_TYPE, tag)))


def reach(layout: CacheLayout, entry: Descriptor) -> Iterator[Digest]:
    """List the blobs that a cache's manifest needs."""
    manifest = json.load_object(
        layout.read(entry, limit=MAX_DOCUMENT_BYTES), what="the cache", max_bytes=MAX_DOCUMENT_BYTES
    )
    config = json.member(manifest, "config")
    if config is not None:
        yield parse_descriptor(config).digest
    for layer in members(manifest, "layers"):
        yield parse_descriptor(layer).digest


def _document_bytes(layout: CacheLayout, entry: Descriptor) -> bytes:
    manifest = json.load_object(
        layout.read(entry, limit=MAX_DOCUMENT_BYTES), what="the cache", max_bytes=MAX_DOCUMENT_BYTES
    )
    config = json.member(manifest, "config")
    if config is None:
        raise InvalidImage("the cache's manifest names no document")
    return layout.read(parse_descriptor(config), limit=MAX_DOCUMENT_BYTES)


def _layer(value: json.Object) -> CachedLayer:
    descriptor = parse_descriptor(value)._replace(annotations=(), urls=())
    media.compression_of(descriptor.media_type)
    created_s = json.integer(value, "created")
    if not 0 <= created_s <= MAX_CREATED_S:
        raise InvalidImage(f"a layer was made at {created_s}, which is no time")
    return CachedLayer(Layer(parse_digest(json.string(value, "diffID")), descriptor), created_s)


def _record(value: json.Object, layer_count: int) -> CarriedRecord:
    layers = value.get("layers")
    if not isinstance(layers, list):
        raise InvalidImage("layers is not a list")
    positions = tuple(
        one
        for one in layers
        if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < layer_count
    )
    if len(positions) != len(layers) or not 0 < len(positions) <= MAX_LAYERS:
        raise InvalidImage("a record names layers that are not there, or too many")
    return CarriedRecord(
        parse_digest(json.string(value, "fast")),
        parse_digest(json.string(value, "slow")),
        shown_name(json.string(value, "name", "")),
        positions,
    )
