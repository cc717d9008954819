"""What a cache is made of."""

from pathlib import Path

import pytest

from builder.engine.cache_document import CachedLayer
from builder.engine.cache_spec import CacheSpec
from builder.engine.collecting import Collector, Foreseen, Step
from builder.oci import media
from builder.oci.descriptor import Descriptor
from builder.oci.digest import key
from builder.oci.layer import Layer
from builder.store.store import Store
from tests.store.conftest import new_snapshot

pytestmark = pytest.mark.namespaces


def test_equal_changes_made_at_other_times_stay_apart(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "state")) as store:
        one = new_snapshot(store, None, {"file": b"content"})
        other = new_snapshot(store, None, {"file": b"content"})
        store.snapshots.backdate(one, 1_000_000_000)
        collector = Collector(store, CacheSpec("local"))

        for name, snapshot in (("a", one), ("b", other), ("c", one)):
            collector.add(Step(key(name), key(name), name, (snapshot,)))
        document = collector.collection().document

    assert [record.layers for record in document.records] == [(0,), (1,), (0,)]
    first, second = document.layers
    assert first.layer == second.layer
    assert first.created_s == 1_000_000_000


def test_layers_that_are_elsewhere_are_handed_on(tmp_path: Path) -> None:
    blob = Descriptor(media.LAYER_GZIP, key("blob"), 10)
    layer = CachedLayer(Layer(key("diff"), blob), 1)
    with Store.open(str(tmp_path / "state")) as store:
        collector = Collector(store, CacheSpec("local"))
        foreseen = Foreseen(key("slow"), (layer,), store.content)

        collector.add(Step(key("fast"), key("slow"), "RUN x", elsewhere=foreseen))
        collection = collector.collection()

    assert collection.document.layers == (layer,)
    assert collection.providers == {blob.digest: store.content}
