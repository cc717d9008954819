"""Blobs of snapshots."""

import threading

import pytest

from builder.oci import media
from builder.oci.config import chain_id
from builder.oci.layer import Layer
from builder.store.store import Store
from tests.store.conftest import new_snapshot

pytestmark = pytest.mark.root


def test_a_layer_is_written_once(store: Store) -> None:
    snapshot = new_snapshot(store, None, {"f": b"1"})

    first = store.layers.ensure(snapshot)
    second = store.layers.ensure(snapshot)

    assert first == second
    assert first.descriptor.media_type == media.LAYER_GZIP
    assert store.content.verify(first.descriptor.digest)
    assert len(list(store.content.walk())) == 1


def test_each_compression_has_its_own_blob_and_the_same_diff_id(store: Store) -> None:
    snapshot = new_snapshot(store, None, {"f": b"1"})

    layers = [store.layers.ensure(snapshot, kind) for kind in ("none", "gzip", "zstd")]

    assert len({layer.diff_id for layer in layers}) == 1
    assert len({layer.descriptor.digest for layer in layers}) == 3
    assert layers[0].diff_id == layers[0].descriptor.digest
    assert store.layers.find(snapshot, "zstd") == layers[2]


def test_nothing_is_found_before_it_was_written(store: Store) -> None:
    snapshot = new_snapshot(store, None, {"f": b"1"})

    assert store.layers.find(snapshot) is None
    assert store.layers.diff_id(snapshot) is None


def test_a_vanished_blob_is_written_again(store: Store) -> None:
    snapshot = new_snapshot(store, None, {"f": b"1"})
    layer = store.layers.ensure(snapshot)

    store.content.set_aside(layer.descriptor.digest)

    assert store.layers.find(snapshot) is None
    assert store.layers.ensure(snapshot) == layer


def test_many_who_ask_at_once_get_one_blob(store: Store, root: str) -> None:
    snapshot = new_snapshot(store, None, {f"f{n}": b"x" * 10_000 for n in range(50)})
    found: list[Layer] = []

    def ask() -> None:
        with Store.open(root) as other:
            found.append(other.layers.ensure(other.snapshots.get(snapshot.id)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(found)) == 1
    assert len(list(store.content.walk())) == 1


def test_a_chain_of_layers_names_its_snapshots(store: Store) -> None:
    lower = new_snapshot(store, None, {"f": b"1"})
    upper = new_snapshot(store, lower, {"f": None, "g": b"2"})

    layers = store.layers.ensure_all(upper)

    whole = chain_id([layer.diff_id for layer in layers])
    assert whole is not None
    assert store.layers.by_chain(whole) == upper
    assert store.layers.by_chain(layers[0].diff_id) == lower
    assert store.layers.ensure_all(None) == ()


def test_a_pulled_layer_stays_as_it_came(store: Store) -> None:
    snapshot = new_snapshot(store, None, {"f": b"1"})
    pulled = store.layers.ensure(snapshot, "zstd")
    store.layers.save(snapshot, pulled, is_pulled=True)

    assert store.layers.ensure_all(snapshot, "gzip") == (pulled,)
    assert store.layers.ensure(snapshot, "gzip") != pulled
    assert store.layers.find(snapshot) == pulled
