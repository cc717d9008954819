"""What a crash or a power cut leaves."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.oci.digest import key
from builder.oci.reference import parse_reference
from builder.store.store import Store
from tests.store.conftest import new_image, new_snapshot
from tests.store.test_gc import cached

pytestmark = pytest.mark.root

APP = parse_reference("app:v1")
Kill = Callable[[Callable[[], None]], None]


def cut_power(store: Store) -> None:
    """Make the store look as if it was last used before a power cut."""
    Path(store.paths.session).write_text("another-boot 0\n")


def test_active_states_of_a_killed_process_are_swept(root: str, in_killed_child: Kill) -> None:
    def work() -> None:
        store = Store.open(root)
        cached(store, "done")
        store.snapshots.prepare(None)

    in_killed_child(work)

    with Store.open(root) as store:
        assert store.database.query("SELECT count(*) FROM snapshots") == [(1,)]
        assert os.listdir(store.paths.snapshots) == ["1"]
        assert store.records.find(key("fast", "done")) is not None


def test_the_work_of_a_living_process_is_left_alone(store: Store, root: str) -> None:
    active = store.snapshots.prepare(None)
    blob = store.content.ingest()

    with Store.open(root):
        pass

    assert os.path.isdir(active.upper)
    assert os.path.exists(blob.path)
    blob.__exit__(None, None, None)


def test_after_a_power_cut_unsynced_states_go_with_all_that_stands_on_them(store: Store) -> None:
    safe = cached(store, "safe")
    store.sync()
    lost = cached(store, "lost", safe)
    child = cached(store, "child", lost)
    store.snapshots.mark_durable([child.id])
    store.close()
    cut_power(store)

    with Store.open(store.root) as again:
        assert again.snapshots.find(safe.id) == safe
        assert again.snapshots.find(lost.id) is None
        assert again.snapshots.find(child.id) is None
        assert again.records.find(key("fast", "child")) is None
        assert set(os.listdir(again.paths.snapshots)) == {str(safe.id)}


def test_after_a_power_cut_unsynced_blobs_are_digested(store: Store) -> None:
    whole, torn, durable = (store.content.put(c) for c in (b"whole", b"torn", b"durable"))
    store.content.flush([durable])
    os.truncate(store.content.path(torn), 0)
    store.close()
    cut_power(store)

    with Store.open(store.root) as again:
        assert again.content.read(whole, limit=9) == b"whole"
        assert not again.content.has(torn)
        assert again.content.has(durable)
        assert again.content.unsynced() == []


def test_after_a_power_cut_names_are_whole(store: Store) -> None:
    snapshot = cached(store, "f")
    store.images.tag(APP, new_image(store, snapshot))
    store.close()
    cut_power(store)

    with Store.open(store.root) as again:
        stored = again.images.get(APP)
        assert stored is not None
        assert again.snapshots.find(snapshot.id) is None
        _, manifest = again.images.manifest(stored.descriptor)
        assert all(again.content.verify(layer.digest) for layer in manifest.layers)


def test_after_a_power_cut_the_index_is_what_the_rows_say(store: Store) -> None:
    before = Path(store.paths.index).read_bytes()
    store.images.tag(APP, new_image(store, cached(store, "f")))
    after = Path(store.paths.index).read_bytes()
    store.close()
    cut_power(store)
    Path(store.paths.index).write_bytes(before)  # the renaming was not on the disk

    with Store.open(store.root) as again:
        assert Path(again.paths.index).read_bytes() == after != before


def test_while_another_process_lives_there_was_no_power_cut(store: Store) -> None:
    snapshot = cached(store, "f")
    cut_power(store)

    with Store.open(store.root):
        pass

    assert os.path.isdir(snapshot.diff)


def test_a_container_survives_the_loss_of_its_base(store: Store) -> None:
    os.mkdir(f"{store.paths.containers}/c1")
    base = cached(store, "base")
    active = store.snapshots.prepare(base, owner="container:c1")
    Path(active.upper, "mine").write_text("mine")
    store.close()
    cut_power(store)

    with Store.open(store.root) as again:
        found = again.snapshots.active("container:c1")
        assert found is not None
        assert found.parent is None
        moved = again.snapshots.rebase(found, cached(again, "base"))
        with again.snapshots.mounted(moved) as fd:
            assert sorted(os.listdir(fd)) == ["base", "mine"]


def test_a_synced_store_loses_nothing(store: Store) -> None:
    snapshot = cached(store, "f")
    os.mkdir(f"{store.paths.containers}/c1")
    store.sync()
    store.close()
    cut_power(store)

    with Store.open(store.root) as again:
        assert again.snapshots.find(snapshot.id) == snapshot


def test_a_base_is_made_durable_before_a_container_stands_on_it(store: Store) -> None:
    snapshot = cached(store, "upper", cached(store, "lower"))

    store.snapshots.ensure_synced(snapshot)

    assert store.snapshots.unsynced() == []


def test_a_lost_database_gives_the_images_back(store: Store) -> None:
    descriptor = new_image(store, cached(store, "f"))
    dangling = new_image(store, cached(store, "g"))
    store.images.tag(APP, descriptor)
    store.images.add(dangling)
    store.close()
    Path(store.paths.database).write_bytes(b"rubbish" * 1000)
    warnings: list[str] = []

    with Store.open(store.root, warn=warnings.append) as again:
        listed = {s.descriptor: s.names for s in again.images.list()}
        assert listed == {descriptor: (APP,), dangling: ()}
        assert os.listdir(again.paths.snapshots) == []
        new = new_snapshot(again, None, {"f": b"1"})
        assert new.id == 3
    assert any("corrupt" in warning for warning in warnings)


def test_a_lost_database_leaves_containers_and_living_builds_alone(store: Store) -> None:
    os.mkdir(f"{store.paths.containers}/c1")
    active = store.snapshots.prepare(cached(store, "base"), owner="container:c1")
    os.unlink(store.paths.database)
    warnings: list[str] = []

    with Store.open(store.root, warn=warnings.append) as again:
        again.database.replace()
        found = again.snapshots.active("container:c1")
        assert found is not None
        assert found.upper == active.upper
        assert os.path.isdir(active.upper)


def test_a_database_lost_in_mid_build_is_noticed_and_the_build_goes_on(store: Store) -> None:
    lower = cached(store, "lower")
    active = store.snapshots.prepare(lower)

    store.database.replace()

    upper = store.snapshots.commit(active)
    assert store.snapshots.chain(upper) == (lower, upper)
    store.snapshots.discard(store.snapshots.prepare(upper))
