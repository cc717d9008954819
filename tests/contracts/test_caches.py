"""What every cache of results does, wherever its records are."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from builder.concurrency import CancelToken
from builder.engine import cache_document
from builder.engine.cache import StoreCache
from builder.engine.cache_document import CachedLayer, CacheDocument, CarriedRecord
from builder.engine.cache_layout import CacheLayout
from builder.engine.carried_cache import CacheChain, CarriedCache, LateCache
from builder.errors import Cancelled, NetworkError
from builder.exporters.layout import REF_NAME
from builder.oci import media
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest, hex_of, key
from builder.oci.provider import Stream
from builder.solver.protocols import Cache, Result
from builder.store.store import Store
from tests.store.conftest import new_snapshot

pytestmark = pytest.mark.namespaces

FAST, SLOW, OTHER = key("fast"), key("slow"), key("other")
STEP = key("step")
Prepare = Callable[[Path, ExitStack], tuple[Cache, Store, list[str]]]


def stored(path: Path, stack: ExitStack) -> tuple[Cache, Store, list[str]]:
    store = stack.enter_context(Store.open(str(path / "state")))
    snapshot = new_snapshot(store, None, {"file": b"content"})
    cache = StoreCache(store)
    cache.save(FAST, Result(SLOW, snapshot.id), step=STEP, name="RUN x", parts=())
    return cache, store, []


def carried(path: Path, stack: ExitStack) -> tuple[Cache, Store, list[str]]:
    write_layout(path)
    store = stack.enter_context(Store.open(str(path / "there")))
    return opened(path, store)


def chained(path: Path, stack: ExitStack) -> tuple[Cache, Store, list[str]]:
    cache, store, warnings = carried(path, stack)
    chain = CacheChain(StoreCache(store), [cache], lambda *_: None)
    return chain, store, warnings


def late(path: Path, stack: ExitStack) -> tuple[Cache, Store, list[str]]:
    write_layout(path)
    store = stack.enter_context(Store.open(str(path / "there")))
    warnings: list[str] = []
    return LateCache("late", lambda: opened(path, store)[0]), store, warnings


def write_layout(path: Path) -> CacheLayout:
    """Build in one store, and write what came of it."""
    layout = CacheLayout(str(path / "layout"))
    with Store.open(str(path / "here")) as store, layout.written():
        base = new_snapshot(store, None, {"base": b"base"})
        snapshot = new_snapshot(store, base, {"file": b"content"})
        layers = [
            CachedLayer(layer, 1_000_000_000 + n)
            for n, layer in enumerate(store.layers.ensure_all(snapshot))
        ]
        record = CarriedRecord(FAST, SLOW, "RUN x", (0, 1))
        document = CacheDocument(tuple(layers), (record,))
        for one in layers:
            with closing(store.content.open_blob(one.layer.descriptor)) as stream:
                layout.copy(one.layer.descriptor, stream)
        config = layout.add(cache_document.to_json(document), cache_document.CONFIG_TYPE)
        artifact = layout.add(cache_document.artifact(config, layers), media.MANIFEST)
        entry = artifact._replace(
            artifact_type=cache_document.CACHE_TYPE, annotations=((REF_NAME, "latest"),)
        )
        layout.publish([entry], lambda e: cache_document.reach(layout, e))
    return layout


def opened(path: Path, store: Store) -> tuple[CarriedCache, Store, list[str]]:
    layout = CacheLayout(str(path / "layout"))
    warnings: list[str] = []
    cache = CarriedCache(
        store, cache_document.load(layout, "latest"), layout,
        name="local", warn=warnings.append, token=CancelToken(),
    )  # fmt: skip
    return cache, store, warnings


@pytest.fixture(params=[stored, carried, chained, late])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cache, Store]]:
    prepare: Prepare = request.param
    with ExitStack() as stack:
        cache, store, _warnings = prepare(tmp_path, stack)
        yield cache, store


@pytest.mark.parametrize("known", [FAST, SLOW])
def test_a_result_is_found_by_both_of_its_keys(filled: tuple[Cache, Store], known: Digest) -> None:
    cache, store = filled

    found = cache.find(known)

    assert found is not None
    assert found.key == SLOW
    assert found.snapshot is not None
    with store.snapshots.viewed(store.snapshots.get(found.snapshot)) as fd:
        assert Path(f"/proc/self/fd/{fd}/file").read_bytes() == b"content"


def test_an_unknown_key_is_not_found(filled: tuple[Cache, Store]) -> None:
    assert filled[0].find(OTHER) is None


def test_the_same_answer_is_given_twice(filled: tuple[Cache, Store]) -> None:
    cache, _store = filled

    assert cache.find(FAST) == cache.find(FAST)


def test_a_key_can_be_held(filled: tuple[Cache, Store]) -> None:
    with filled[0].locked(FAST, CancelToken()):
        assert filled[0].find(SLOW) is not None


def test_nothing_is_unpacked_before_it_is_asked_for(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cache, store, _warnings = carried(tmp_path, stack)
        assert list(store.content.walk()) == []

        assert cache.find(OTHER) is None
        assert list(store.content.walk()) == []
        assert cache.find(FAST) is not None

        assert len(list(store.content.walk())) == 2


def test_times_of_layers_are_those_of_the_first_machine(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cache, store, _warnings = carried(tmp_path, stack)

        found = cache.find(FAST)

        assert found is not None
        assert found.snapshot is not None
        snapshot = store.snapshots.get(found.snapshot)
        assert store.snapshots.created_s(snapshot) == 1_000_000_001


@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_layer_is_a_miss_that_is_told_once(tmp_path: Path, damage: str) -> None:
    layout = write_layout(tmp_path)
    document = cache_document.load(layout, "latest")
    blob = document.layers[1].layer.descriptor.digest
    path = Path(layout.path, "blobs/sha256", hex_of(blob))
    if damage == "missing":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-9] if damage == "truncated" else b"x" + content[1:])
    with Store.open(str(tmp_path / "there")) as store:
        cache, _store, warnings = opened(tmp_path, store)

        assert cache.find(FAST) is None
        assert cache.find(SLOW) is None

        assert len(warnings) == 1
        assert store.records.find(FAST) is None


class Nowhere:
    """A place that cannot be reached; counts who tried."""

    def __init__(self) -> None:
        self.tries = 0

    def open_blob(self, descriptor: Descriptor) -> Stream:
        self.tries += 1
        raise NetworkError(f"no way to {descriptor.digest}")


def test_a_place_that_cannot_be_reached_is_tried_once(tmp_path: Path) -> None:
    document = cache_document.load(write_layout(tmp_path), "latest")
    second = CarriedRecord(OTHER, OTHER, "\x1b[2J", (0,))
    nowhere, warnings = Nowhere(), list[str]()
    with Store.open(str(tmp_path / "there")) as store:
        cache = CarriedCache(
            store, document._replace(records=(*document.records, second)), nowhere,
            name="gone", warn=warnings.append, token=CancelToken(),
        )  # fmt: skip

        assert [cache.find(wanted) for wanted in (FAST, SLOW, OTHER)] == [None] * 3

    assert nowhere.tries == 1
    assert len(warnings) == 1


def test_a_broken_layer_costs_the_records_that_need_it_and_no_others(tmp_path: Path) -> None:
    layout = write_layout(tmp_path)
    document = cache_document.load(layout, "latest")
    lower = CarriedRecord(OTHER, OTHER, "lower", (0,))
    blob = document.layers[1].layer.descriptor.digest
    Path(layout.path, "blobs/sha256", hex_of(blob)).unlink()
    warnings: list[str] = []
    with Store.open(str(tmp_path / "there")) as store:
        cache = CarriedCache(
            store, document._replace(records=(*document.records, lower)), layout,
            name="broken", warn=warnings.append, token=CancelToken(),
        )  # fmt: skip

        assert cache.find(FAST) is None
        assert not cache.is_far(SLOW)
        assert cache.find(OTHER) is not None
        assert len(warnings) == 1


def test_a_cancelled_look_up_is_no_fault_of_the_cache(tmp_path: Path) -> None:
    with ExitStack() as stack:
        layout = write_layout(tmp_path)
        store = stack.enter_context(Store.open(str(tmp_path / "there")))
        token, warnings = CancelToken(), list[str]()
        token.cancel()
        cache = CarriedCache(
            store, cache_document.load(layout, "latest"), layout,
            name="local", warn=warnings.append, token=token,
        )  # fmt: skip

        with pytest.raises(Cancelled):
            cache.find(FAST)

        assert warnings == []


def test_a_cache_is_opened_when_the_store_does_not_know(tmp_path: Path) -> None:
    with ExitStack() as stack:
        own, _store, _warnings = stored(tmp_path, stack)
        times: list[int] = []

        def open_cache() -> None:
            times.append(1)

        chain = CacheChain(own, [LateCache("x", open_cache)], lambda *_: None)

        assert not chain.is_far(FAST)
        assert chain.find(FAST) is not None
        assert times == []
        assert chain.is_far(OTHER)
        assert chain.find(OTHER) is None
        assert chain.find(OTHER) is None
        assert not chain.is_far(OTHER)
        assert times == [1]


def test_a_layer_that_is_not_what_its_record_says_is_refused(tmp_path: Path) -> None:
    layout = write_layout(tmp_path)
    document = cache_document.load(layout, "latest")
    first, second = document.layers
    swapped = second._replace(layer=second.layer._replace(descriptor=first.layer.descriptor))
    with Store.open(str(tmp_path / "there")) as store:
        warnings: list[str] = []
        cache = CarriedCache(
            store, document._replace(layers=(first, swapped)), layout,
            name="evil", warn=warnings.append, token=CancelToken(),
        )  # fmt: skip

        assert cache.find(FAST) is None
        assert len(warnings) == 1


def test_caches_are_asked_in_order_and_each_look_up_is_told(tmp_path: Path) -> None:
    with ExitStack() as stack:
        cache, store, _warnings = carried(tmp_path, stack)
        told: list[tuple[str, bool]] = []
        chain = CacheChain(
            StoreCache(store), [cache], lambda _key, place, is_found: told.append((place, is_found))
        )

        chain.find(OTHER)
        chain.find(FAST)
        chain.find(FAST)

        assert told == [
            ("this store", False), ("local", False),
            ("this store", False), ("local", True),
            ("this store", True),
        ]  # fmt: skip


def test_a_document_comes_back_as_it_was(tmp_path: Path) -> None:
    document = cache_document.load(write_layout(tmp_path), "latest")

    assert cache_document.parse(cache_document.to_json(document)) == document


def test_what_a_new_export_does_not_name_is_removed(tmp_path: Path) -> None:
    layout = write_layout(tmp_path)
    blobs = Path(layout.path, "blobs/sha256")
    (blobs / "stray").write_bytes(b"")
    before = len(list(blobs.iterdir()))

    with layout.written():
        layout.publish([], lambda e: cache_document.reach(layout, e))

    assert len(list(blobs.iterdir())) == before - 1
