"""Layers rewritten for an output: another compression, or times clamped to an epoch.

Both are rare and slow, so what came out is remembered: the next export finds the blob again.

Spec: BuildKit, docs/build-repro.md, "rewrite-timestamp" (base layers keep their times).
"""

import os

from builder.exporters.output import Output
from builder.exporters.result import ImageResult
from builder.layers.compress import Blob, Compressor, recompress
from builder.layers.stream import Decompressed, FdSource
from builder.layers.tar import NS_PER_S, padding
from builder.layers.tarreader import Reader
from builder.layers.tarwriter import Writer
from builder.oci import json, media
from builder.oci.config import ImageConfig
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest, parse_digest
from builder.oci.layer import Layer
from builder.store.store import Store

_MEMO = b"layer-conversion/1"
_DEFAULT: media.Compression = "gzip"


def converted(
    image: ImageResult, output: Output, store: Store, *, epoch_s: int | None
) -> ImageResult:
    """Give the image with its layers as the output wants them; the same one if nothing changes."""
    clamp_s = epoch_s if output.is_rewriting_timestamps else None
    layers = tuple(
        _converted(layer, output, store, None if position < image.base_layers else clamp_s)
        for position, layer in enumerate(image.layers)
    )
    if layers == image.layers:
        return image
    diff_ids = tuple(layer.diff_id for layer in layers)
    if diff_ids == image.config.diff_ids:
        return image._replace(layers=layers)
    config: ImageConfig = image.config._replace(diff_ids=diff_ids)
    return image._replace(layers=layers, config=config, config_bytes=None)


def clamped(
    source_fd: int,
    out_fd: int,
    max_mtime_s: int,
    compression: media.Compression,
    level: int | None = None,
) -> Blob:
    """Write a layer again with no time after `max_mtime_s`; older times stay."""
    latest_ns = max_mtime_s * NS_PER_S
    reader = Reader(Decompressed(FdSource(source_fd)).read)
    with Compressor(out_fd, compression, level) as compressor:
        writer = Writer(compressor.write)
        for entry in reader:
            writer.add(entry._replace(mtime_ns=min(entry.mtime_ns, latest_ns)))
            if reader.remaining:
                writer.flush()
                while piece := reader.piece():
                    compressor.write(piece)
                compressor.write(bytes(padding(entry.size_bytes)))
        writer.close()
        return compressor.finish()


def _converted(layer: Layer, output: Output, store: Store, clamp_s: int | None) -> Layer:
    wanted = output.compression or _DEFAULT
    present = media.compression_of(layer.descriptor.media_type)
    is_recompressed = output.is_compression_forced and present != wanted
    if not is_recompressed and clamp_s is None:
        return layer
    compression = wanted if is_recompressed else present
    level = output.compression_level if compression == wanted else None
    return rewritten(store, layer, compression, level, clamp_s=clamp_s)


def rewritten(
    store: Store,
    layer: Layer,
    compression: media.Compression,
    level: int | None = None,
    *,
    clamp_s: int | None = None,
) -> Layer:
    """Give a layer in another compression, or with no later times; made once, then remembered."""
    key = b"\0".join(
        (
            _MEMO,
            layer.descriptor.digest.encode(),
            compression.encode(),
            b"%r" % level,
            b"%r" % clamp_s,
        )
    )
    known = _recalled(store, key)
    if known is not None:
        return known
    source = store.content.open(layer.descriptor.digest)
    try:
        with store.content.ingest() as ingest:
            if clamp_s is None:
                blob = recompress(source, ingest.fd, compression, level)
            else:
                blob = clamped(source, ingest.fd, clamp_s, compression, level)
            ingest.commit(blob.digest, blob.size_bytes, is_verified=True)
    finally:
        os.close(source)
    made = Layer(
        blob.diff_id,
        Descriptor(media.layer_media_type(compression), blob.digest, blob.size_bytes),
    )
    _remember(store, key, made)
    return made


def _recalled(store: Store, key: bytes) -> Layer | None:
    value = store.records.memo(key)
    if value is None:
        return None
    fields = json.load_object(value, what="the record of a converted layer")
    digest = parse_digest(json.string(fields, "digest"))
    if not store.content.has(digest):
        return None
    descriptor = Descriptor(json.string(fields, "type"), digest, json.integer(fields, "size"))
    return Layer(Digest(json.string(fields, "diff_id")), descriptor)


def _remember(store: Store, key: bytes, layer: Layer) -> None:
    store.records.remember(
        key,
        json.dumps(
            {
                "diff_id": layer.diff_id,
                "digest": layer.descriptor.digest,
                "type": layer.descriptor.media_type,
                "size": layer.descriptor.size_bytes,
            }
        ),
    )
