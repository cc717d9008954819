"""From solved vertices to an image: layers, times, and the finished configuration.

Times come from the snapshots, which were made once: an unchanged build gives the same image again,
to the byte.
"""

import time

from builder.dockerfile.lower import Lowered
from builder.exporters.output import Output
from builder.exporters.result import ImageResult
from builder.oci.config import History, ImageConfig
from builder.oci.descriptor import MAX_MANIFEST_BYTES, parse_manifest
from builder.oci.layer import Layer
from builder.oci.platform import Platform
from builder.store.snapshotter import Snapshot
from builder.store.store import Store
from builder.values import NamedTuple


class Solved(NamedTuple):
    """The result of one platform: what was lowered, and the snapshot of its root (None: empty)."""

    platform: Platform
    lowered: Lowered
    root: Snapshot | None


def image_result(
    solved: Solved, output: Output, store: Store, *, is_squashed: bool = False
) -> ImageResult:
    """Make the layers' blobs as the output wants them, and the configuration that lists them."""
    lowered = solved.lowered
    own = own_snapshots(solved, store)
    base_layers = _base_layers(lowered, store)
    if not output.needs_layers:
        config = _timed(lowered, own, store)
        return ImageResult(solved.platform, config, (), solved.root, len(base_layers))
    if is_squashed and own and solved.root is not None:
        return _squashed(solved, own, base_layers, output, store)
    compression, level = output.compression or "gzip", output.compression_level
    layers = (*base_layers, *(store.layers.ensure(s, compression, level) for s in own))
    config = _timed(lowered, own, store)._replace(diff_ids=tuple(layer.diff_id for layer in layers))
    return ImageResult(solved.platform, config, layers, solved.root, len(base_layers))


def _squashed(
    solved: Solved,
    own: tuple[Snapshot, ...],
    base_layers: tuple[Layer, ...],
    output: Output,
    store: Store,
) -> ImageResult:
    from builder.engine.squash import squashed_history, squashed_layer

    lowered, root = solved.lowered, own[-1]
    layer = squashed_layer(root, store.snapshots.base(own[0]), output, store)
    layers = (*base_layers, layer)
    old = 0 if lowered.base is None else len(lowered.base.config.history)
    config = squashed_history(_timed(lowered, own, store), old)
    config = config._replace(diff_ids=tuple(layer.diff_id for layer in layers))
    return ImageResult(solved.platform, config, layers, root, len(base_layers))


def own_snapshots(solved: Solved, store: Store) -> tuple[Snapshot, ...]:
    """List the snapshots that this build's instructions made, the lowest first."""
    count = len(solved.lowered.layers)
    if count == 0 or solved.root is None:
        return ()
    return store.snapshots.chain(solved.root)[-count:]


def rfc3339(seconds: float) -> str:
    """Write a time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _base_layers(lowered: Lowered, store: Store) -> tuple[Layer, ...]:
    if lowered.base is None:
        return ()
    content = store.content.read(lowered.base.manifest, limit=MAX_MANIFEST_BYTES)
    manifest = parse_manifest(content)
    diff_ids = lowered.base.config.diff_ids
    return tuple(
        Layer(diff_id, blob) for diff_id, blob in zip(diff_ids, manifest.layers, strict=True)
    )


def _timed(lowered: Lowered, own: tuple[Snapshot, ...], store: Store) -> ImageConfig:
    """Fill in the times of new history entries: a layer's own, or that of the layer below it."""
    config = lowered.config
    first_new = 0 if lowered.base is None else len(lowered.base.config.history)
    if lowered.epoch_s is not None:
        epoch = rfc3339(lowered.epoch_s)
        entries = (entry._replace(created=epoch) for entry in config.history[first_new:])
        return config._replace(history=(*config.history[:first_new], *entries), created=epoch)
    now = None if lowered.base is None else lowered.base.config.created
    times = iter(rfc3339(store.snapshots.created_s(snapshot)) for snapshot in own)
    history: list[History] = list(config.history[:first_new])
    for entry in config.history[first_new:]:
        if not entry.is_empty_layer:
            now = next(times, now)
        history.append(entry._replace(created=now))
    return config._replace(history=tuple(history), created=now)
