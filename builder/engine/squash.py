"""`--squash`: all layers of a build as one, over those of its base.

The finished tree is compared with the base's: what an early step wrote and a later one deleted is
nowhere in the image.
"""

from builder.exporters.output import Output
from builder.layers.compress import Compressor
from builder.layers.diff import changes
from builder.layers.layer import write_changes
from builder.oci.config import History, ImageConfig
from builder.oci.descriptor import Descriptor
from builder.oci.layer import Layer
from builder.oci.media import layer_media_type
from builder.store.snapshotter import Snapshot
from builder.store.store import Store


def squashed_layer(root: Snapshot, base: Snapshot | None, output: Output, store: Store) -> Layer:
    """Write what a tree changes over its base's as one layer."""
    compression, level = output.compression or "gzip", output.compression_level
    snapshots = store.snapshots
    lowers, userxattr = snapshots.lowers(base), snapshots.userxattr
    with (
        snapshots.viewed(root) as root_fd,
        store.content.ingest() as ingest,
        Compressor(ingest.fd, compression, level) as compressor,
    ):
        tree = f"/proc/self/fd/{root_fd}"
        members = changes(tree, lowers, userxattr=userxattr, is_whole=True)
        write_changes(members, compressor.write, copy=compressor.copy)
        blob = compressor.finish()
        ingest.commit(blob.digest, blob.size_bytes, is_verified=True)
    described = Descriptor(layer_media_type(compression), blob.digest, blob.size_bytes)
    return Layer(blob.diff_id, described)


def squashed_history(config: ImageConfig, old: int) -> ImageConfig:
    """Keep all entries, none of the new ones with a layer, and add one for the layer of all."""
    new = config.history[old:]
    count = sum(not entry.is_empty_layer for entry in new)
    told = [entry._replace(is_empty_layer=True) for entry in new]
    merged = History(config.created, "", f"{count} layers squashed")
    return config._replace(history=(*config.history[:old], *told, merged))
