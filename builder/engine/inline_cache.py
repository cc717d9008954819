"""Cache that travels inside an image: which of its layers which step had come to.

A record says only how many of the image's layers it stands for. So it is right in whatever
compression and at whatever place the image is; digests and diff IDs are those of the image.
"""

import binascii
from collections.abc import Iterable, Sequence

from builder.engine.cache_document import (
    MAX_CREATED_S,
    MAX_RECORDS,
    CachedLayer,
    CacheDocument,
    CarriedRecord,
    shown_name,
)
from builder.errors import InvalidImage
from builder.oci import json
from builder.oci.config import INLINE_CACHE, MAX_CONFIG_BYTES, check_layer_count, parse_config
from builder.oci.descriptor import Manifest
from builder.oci.digest import parse_digest
from builder.oci.layer import Layer
from builder.wire import unix_seconds

_MAX_NAME = 200


def to_json(records: Sequence[CarriedRecord]) -> bytes:
    """Write records whose layers are the lowest of the image."""
    written = [
        {"fast": r.fast, "slow": r.slow, "name": r.name[:_MAX_NAME], "layers": len(r.layers)}
        for r in records
    ]
    return json.dumps({"version": 1, "records": written})


def parse_image(manifest: Manifest, content: bytes) -> CacheDocument | None:
    """Read the cache of an image from its config; None if it carries none of ours.

    Raises InvalidImage.
    """
    value = json.load_object(content, what="the image config", max_bytes=MAX_CONFIG_BYTES)
    text = json.string(value, INLINE_CACHE, "")
    if not text:
        return None
    config = parse_config(content)
    check_layer_count(config, len(manifest.layers))
    times = [unix_seconds(entry.created) for entry in config.history if not entry.is_empty_layer]
    times += [unix_seconds(config.created)] * (len(config.diff_ids) - len(times))
    layers = tuple(
        CachedLayer(
            Layer(diff_id, descriptor._replace(annotations=(), urls=())),
            min(max(created_s, 0), MAX_CREATED_S),
        )
        for diff_id, descriptor, created_s in zip(
            config.diff_ids, manifest.layers, times, strict=False
        )
    )
    return CacheDocument(layers, tuple(_records(text, len(layers))))


def _records(text: str, layer_count: int) -> Iterable[CarriedRecord]:
    value = json.load_object(decoded(text), what="the image's cache")
    if json.integer(value, "version") != 1:
        raise InvalidImage("the image's cache is of a version that is not known")
    for one in json.members(value, "records", limit=MAX_RECORDS):
        count = json.integer(one, "layers")
        if not 0 < count <= layer_count:
            raise InvalidImage(f"a record stands for {count} of {layer_count} layers")
        yield CarriedRecord(
            parse_digest(json.string(one, "fast")),
            parse_digest(json.string(one, "slow")),
            shown_name(json.string(one, "name", "")),
            tuple(range(count)),
        )


def decoded(text: str) -> bytes:
    """Read base64 strictly; raise InvalidImage."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError as error:
        raise InvalidImage(f"the image's cache is not base64: {error}") from None
