"""Image: the root file system of a base, unpacked when a step really needs it."""

from builder.concurrency import CancelToken
from builder.executors.bench import Bench
from builder.graph.ops import Image
from builder.oci.config import parse_config
from builder.oci.descriptor import MAX_MANIFEST_BYTES, parse_manifest
from builder.store.unpack import find_unpacked, unpack_image

MAX_CONFIG_BYTES = 8 << 20


def execute(op: Image, bench: Bench, token: CancelToken) -> int | None:
    """Return the snapshot of the image's top layer, fetching and unpacking what is missing."""
    known = find_unpacked(bench.store, op.diff_ids)
    if known is not None:
        return known.id
    content = bench.store.content
    manifest = parse_manifest(content.read(op.manifest, limit=MAX_MANIFEST_BYTES))
    config = parse_config(content.read(manifest.config.digest, limit=MAX_CONFIG_BYTES))
    provider = bench.provider(op.name)
    snapshot = unpack_image(bench.store, manifest, config, provider=provider, token=token)
    return None if snapshot is None else snapshot.id
