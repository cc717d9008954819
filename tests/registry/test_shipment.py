"""Large caches in a registry: more blobs than one manifest names."""

import os
from pathlib import Path

from builder.concurrency import CancelToken, Pool
from builder.engine.cache_document import CONFIG_TYPE, CachedLayer, CacheDocument, CarriedRecord
from builder.engine.cache_document import to_json as document_json
from builder.engine.cache_spec import CacheSpec
from builder.engine.remote_cache import RemoteBlobs, read_cache
from builder.engine.shipment import MAX_BLOBS, Parcel, Shipment
from builder.oci import media
from builder.oci.descriptor import Descriptor, describe
from builder.oci.digest import key
from builder.oci.layer import Layer
from builder.oci.reference import parse_reference
from builder.registry.client import Registries
from builder.registry.download import unreported
from builder.store.store import Store
from tests.registry.servers import Registry


def test_a_cache_of_more_blobs_than_a_manifest_names_comes_back_whole(
    tmp_path: Path, store: Store, client: Registries, plain_registry: Registry
) -> None:
    contents = {
        describe(content, media.LAYER_GZIP): content
        for content in (b"%d" % number for number in range(MAX_BLOBS + 10))
    }
    layers = tuple(CachedLayer(Layer(key(blob.digest), blob), 1) for blob in contents)
    record = CarriedRecord(key("fast"), key("slow"), "RUN x", (0, MAX_BLOBS + 9))
    document = CacheDocument(layers, (record,))
    reference = parse_reference(f"{plain_registry.host}/many:cache")
    token = CancelToken()

    def open_blob(blob: Descriptor) -> int:
        path = tmp_path / blob.digest
        path.write_bytes(contents[blob])
        return os.open(path, os.O_RDONLY)

    shipment = Shipment(store, client.destination(reference), token, unreported)
    config = shipment.add_bytes(document_json(document), CONFIG_TYPE)
    shipment.add(Parcel(config, tuple(contents)), open_blob)
    root = shipment.send(CacheSpec("registry"), reference.tag)

    assert root.media_type == media.INDEX
    with Pool(2) as pool:
        found, blobs = read_cache(
            client, reference, lambda places: RemoteBlobs(store, places, token, pool, unreported)
        )
        last = layers[-1].layer.descriptor
        assert blobs.read(last, limit=10) == contents[last]
    assert found.document == document
