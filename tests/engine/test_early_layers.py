"""Layers that are written while a build goes on: each once, and none that nobody wants."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.engine.early_layers import WORTH_S, EarlyLayers
from builder.exporters.output import Output
from builder.store.snapshotter import Snapshot
from builder.store.store import Store
from tests.dockerfile.builds import lowered

IMAGE = lowered("FROM scratch\nCOPY a /\nENV b=c\nCOPY d /\nCOPY e /\n")

pytestmark = [
    pytest.mark.namespaces,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="needs a processor to spare"),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "state")) as store:
        yield store


def commit(store: Store, parent: Snapshot | None, size_bytes: int = 10) -> Snapshot:
    active = store.snapshots.prepare(None if parent is None else parent.id)
    with open(f"{active.upper}/file", "wb") as file:
        file.write(os.urandom(size_bytes))
    return store.snapshots.commit(active)


def chain(store: Store) -> list[Snapshot]:
    found: list[Snapshot] = []
    for _ in IMAGE.layers:
        found.append(commit(store, found[-1] if found else None))
    return found


def test_all_layers_but_the_last_are_written(store: Store) -> None:
    snapshots = chain(store)
    with EarlyLayers(store, Output("image"), [IMAGE]) as early:
        for vertex, snapshot in zip(IMAGE.layers, snapshots, strict=True):
            early.begin(vertex, snapshot.id, WORTH_S)
        early.wait()

        assert [store.layers.find(one) is not None for one in snapshots] == [True, True, False]


def test_they_are_what_the_export_would_write(store: Store) -> None:
    snapshot = chain(store)[0]
    with EarlyLayers(store, Output("oci", compression="zstd"), [IMAGE]) as early:
        early.begin(IMAGE.layers[0], snapshot.id, WORTH_S)
        early.wait()
        written = store.layers.find(snapshot)

    assert written == store.layers.ensure(snapshot, "zstd")
    assert written is not None
    assert written.descriptor.media_type.endswith("zstd")


def test_other_steps_quick_ones_and_other_outputs_have_none(store: Store) -> None:
    snapshot = chain(store)[0]
    with EarlyLayers(store, Output("image"), [IMAGE]) as early:
        early.begin(IMAGE.root.inputs[0].vertex.inputs[-1].vertex, snapshot.id, WORTH_S)
        early.begin(IMAGE.layers[0], None, WORTH_S)
        early.begin(IMAGE.layers[0], snapshot.id, WORTH_S / 2)
        early.wait()
    with EarlyLayers(store, None, [IMAGE]) as early:
        early.begin(IMAGE.layers[0], snapshot.id, WORTH_S)
        early.wait()

    assert store.layers.find(snapshot) is None


def test_what_is_not_waited_for_is_ended_and_leaves_nothing(store: Store) -> None:
    large = commit(store, None, 256 << 20)
    with EarlyLayers(store, Output("image"), [IMAGE]) as early:
        early.begin(IMAGE.layers[0], large.id, WORTH_S)

    assert store.layers.find(large) is None
    assert os.listdir(store.path("ingest")) == []
