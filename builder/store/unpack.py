"""Images become snapshots: layer by layer, lazily, each chain of layers once on this machine.

A layer is trusted by its diff ID, which the config names, and its blob by its digest; both are
checked while it is applied, and nothing is kept of one that differs.
"""

import os
from collections.abc import Sequence

from builder.concurrency import CancelToken
from builder.errors import InvalidImage
from builder.layers.apply import apply_layer, inherit_directories
from builder.oci.config import ImageConfig, chain_on, check_layer_count
from builder.oci.descriptor import Descriptor, Manifest
from builder.oci.digest import Digest
from builder.oci.layer import Layer
from builder.oci.provider import Provider
from builder.store.failure import translated
from builder.store.snapshotter import Active, Snapshot
from builder.store.store import Store


def unpack_image(
    store: Store,
    manifest: Manifest,
    config: ImageConfig,
    *,
    provider: Provider | None = None,
    token: CancelToken | None = None,
) -> Snapshot | None:
    """Give the snapshot of an image, applying the layers that no snapshot has yet.

    Blobs that are not in the store come from the provider. None for an image without layers.
    Raises InvalidImage for a layer that is not what manifest and config say.
    """
    check_layer_count(config, len(manifest.layers))
    chain: Digest | None = None
    snapshot: Snapshot | None = None
    for diff_id, descriptor in zip(config.diff_ids, manifest.layers, strict=True):
        chain = chain_on(chain, diff_id)
        found = store.layers.by_chain(chain)
        if found is None:
            layer = Layer(diff_id, descriptor)
            with store.key_lock(f"chain {chain}", token):
                found = store.layers.by_chain(chain)
                if found is None:
                    _fetch(store, descriptor, provider, token)
                    found = _unpack_layer(store, layer, snapshot, chain)
        snapshot = found
    return snapshot


def find_unpacked(store: Store, diff_ids: Sequence[Digest]) -> Snapshot | None:
    """Give the snapshot of a whole chain if there is one; reads rows only."""
    chain: Digest | None = None
    for diff_id in diff_ids:
        chain = chain_on(chain, diff_id)
    return None if chain is None else store.layers.by_chain(chain)


def _fetch(
    store: Store, descriptor: Descriptor, provider: Provider | None, token: CancelToken | None
) -> None:
    if provider is not None:
        store.content.fetch(provider, descriptor, token)


def _unpack_layer(store: Store, layer: Layer, parent: Snapshot | None, chain: Digest) -> Snapshot:
    active = store.snapshots.prepare_diff(parent)
    try:
        with translated(active.upper):
            _apply(store, layer, active, parent)
        snapshot = store.snapshots.commit(active, name=f"layer {layer.diff_id}")
    except BaseException:
        store.snapshots.discard(active)
        raise
    store.layers.save(snapshot, layer, is_pulled=True)
    store.layers.bind_chain(chain, snapshot)
    return snapshot


def _apply(store: Store, layer: Layer, active: Active, parent: Snapshot | None) -> None:
    blob = store.content.open(layer.descriptor.digest)
    try:
        root = os.open(active.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            applied = apply_layer(
                blob,
                root,
                expected_digest=layer.descriptor.digest,
                expected_diff_id=layer.diff_id,
                userxattr=store.snapshots.userxattr,
                can_mknod=store.can_mknod,
            )
            inherit_directories(root, applied.implied, store.snapshots.lowers(parent))
        finally:
            os.close(root)
    except InvalidImage:
        if not store.content.verify(layer.descriptor.digest):
            store.content.set_aside(layer.descriptor.digest)  # so that the next try fetches it
        raise
    finally:
        os.close(blob)
