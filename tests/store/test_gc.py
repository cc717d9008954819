"""Collection."""

import os
import time

import pytest

from builder.oci.descriptor import Descriptor
from builder.oci.digest import key
from builder.oci.reference import parse_reference
from builder.store.gc import Pruned, Scope, collect, prune, sweep
from builder.store.marking import Policy
from builder.store.snapshotter import Snapshot
from builder.store.store import Store
from tests.store.conftest import AddImage, new_image, new_snapshot

pytestmark = pytest.mark.root

APP = parse_reference("app:v1")
CONTENT = b"x" * 20_000


def cached(store: Store, name: str, parent: Snapshot | None = None) -> Snapshot:
    """Make a snapshot that is the result of a cached step."""
    snapshot = new_snapshot(store, parent, {name: CONTENT})
    store.records.save(
        key("fast", name), key("slow", name), snapshot=snapshot.id, step=key("step", name),
        name=name, parts=(),
    )  # fmt: skip
    return snapshot


def age(store: Store, snapshot: Snapshot, age_s: int) -> None:
    then_s = int(time.time()) - age_s
    store.database.query("UPDATE snapshots SET last_used_s = ? WHERE id = ?", then_s, snapshot.id)


def reopened(store: Store) -> Store:
    """Close a store and open it again: only what is not pinned may go."""
    store.close()
    return Store.open(store.root)


def names(pruned: Pruned, kind: str) -> set[str]:
    return {item.name for item in pruned.items if item.kind == kind}


def directories(store: Store) -> set[str]:
    return set(os.listdir(store.paths.snapshots))


def test_everything_that_is_only_cache_goes(store: Store) -> None:
    lower = cached(store, "lower")
    upper = cached(store, "upper", lower)
    store.layers.ensure_all(upper)

    with reopened(store) as again:
        pruned = prune(again, Scope())

        assert names(pruned, "snapshot") == {str(lower.id), str(upper.id)}
        assert len(names(pruned, "blob")) == 2
        assert pruned.freed_bytes > 2 * len(CONTENT)
        assert directories(again) == set()
        assert list(again.content.walk()) == []
        assert os.listdir(again.paths.trash) == []
        assert again.records.find(key("fast", "upper")) is None


def test_a_dry_run_tells_the_same_and_removes_nothing(store: Store) -> None:
    store.layers.ensure_all(cached(store, "upper", cached(store, "lower")))

    with reopened(store) as again:
        told = prune(again, Scope(), is_dry_run=True)
        before = directories(again)
        assert len(before) == 2
        assert prune(again, Scope()) == told


def test_what_a_living_process_found_stays(store: Store) -> None:
    lower = cached(store, "lower")
    cached(store, "upper", lower)
    unused = cached(store, "unused")

    with reopened(store) as builder, Store.open(store.root) as other:
        assert builder.records.find(key("fast", "upper")) is not None
        pruned = prune(other, Scope())

        assert names(pruned, "snapshot") == {str(unused.id)}
        assert builder.records.find(key("slow", "upper")) is not None


def test_what_a_name_needs_stays(store: Store) -> None:
    snapshot = cached(store, "upper", cached(store, "lower"))
    descriptor = new_image(store, snapshot)
    store.images.tag(APP, descriptor)

    with reopened(store) as again:
        pruned = prune(again, Scope(dangling_images=True))

        assert pruned.items == ()
        assert again.snapshots.find(snapshot.id) == snapshot
        again.images.tag(parse_reference("app:v2"), descriptor)


def test_what_a_container_needs_stays(store: Store) -> None:
    snapshot = cached(store, "base")
    os.mkdir(f"{store.paths.containers}/c1")
    active = store.snapshots.prepare(snapshot, owner="container:c1")
    descriptor = new_image(store, snapshot)
    store.images.add(descriptor)
    store.pins.add("container:c1", images=[descriptor.digest])

    with reopened(store) as again:
        pruned = prune(again, Scope(dangling_images=True, unused_images=True))

        assert pruned.items == ()
        assert os.path.isdir(active.upper)
        assert [s.descriptor for s in again.images.list()] == [descriptor]


def image_of(store: Store, name: str) -> Descriptor:
    return new_image(store, cached(store, name))


def test_dangling_images_go_and_then_their_blobs(store: Store) -> None:
    store.images.add(image_of(store, "a"))
    kept = image_of(store, "b")
    store.images.tag(APP, kept)

    with reopened(store) as again:
        pruned = prune(again, Scope(dangling_images=True))

        assert len(names(pruned, "image")) == 1
        assert [s.descriptor for s in again.images.list()] == [kept]
        assert len(list(again.content.walk())) == 3


def test_unused_images_go_with_their_names_if_they_are_chosen(store: Store) -> None:
    for name in ("a", "b"):
        store.images.tag(parse_reference(f"app:{name}"), image_of(store, name))

    with reopened(store) as again:
        scope = Scope(
            cache=False,
            unused_images=True,
            is_chosen=lambda image: image.names[0].tag == "a",
        )
        prune(again, scope)

        assert [s.names[0].tag for s in again.images.list()] == ["b"]


def test_young_images_stay(store: Store) -> None:
    store.images.add(image_of(store, "a"))

    with reopened(store) as again:
        assert prune(again, Scope(dangling_images=True, until_s=3600)).items == ()


def test_a_limit_takes_the_least_recently_used_leaves(store: Store) -> None:
    base = cached(store, "base")
    old, new = cached(store, "old", base), cached(store, "new", base)
    age(store, base, 3000)
    age(store, old, 2000)
    age(store, new, 1000)

    store.close()
    with Store.open(store.root) as again:
        used = sum(again.snapshots.measure(s.id) for s in (base, old, new))
        pruned = collect(again, Policy(max_used_bytes=used - 1))

        assert names(pruned, "snapshot") == {str(old.id)}
        assert collect(again, Policy(max_used_bytes=used - 1)).items == ()


def test_what_was_used_lately_stays_with_all_below_it(store: Store) -> None:
    base = cached(store, "base")
    leaf = cached(store, "leaf", base)
    lonely = cached(store, "lonely")
    age(store, base, 9000)
    age(store, lonely, 9000)
    store.close()

    with Store.open(store.root) as again:
        age(again, base, 9000)
        age(again, leaf, 100)
        age(again, lonely, 9000)
        pruned = prune(again, Scope(until_s=5000))

    assert names(pruned, "snapshot") == {str(lonely.id)}


def test_cache_mounts_in_use_stay(store: Store) -> None:
    with store.cache_mounts.held("free") as free:
        pass
    with Store.open(store.root) as other, store.cache_mounts.held("used") as used:
        prune(other, Scope(cache=False))

        assert os.path.isdir(used.path)
        assert not os.path.exists(free.path)


def test_ids_narrow_a_prune(store: Store) -> None:
    first, _second = cached(store, "first"), cached(store, "second")

    with reopened(store) as again:
        pruned = prune(again, Scope(ids=(str(first.id),)))

    assert names(pruned, "snapshot") == {str(first.id)}


def test_a_sweep_takes_only_what_nothing_refers_to(store: Store) -> None:
    kept = cached(store, "kept")
    lost = new_snapshot(store, kept, {"f": CONTENT})
    stray = store.content.put(b"stray")
    os.mkdir(store.paths.snapshot(999))

    with reopened(store) as again:
        pruned = sweep(again)

        assert names(pruned, "snapshot") == {str(lost.id)}
        assert names(pruned, "blob") == {stray}
        assert directories(again) == {str(kept.id)}


def test_a_remembered_source_keeps_its_blobs_until_the_cache_is_pruned(store: Store) -> None:
    store.images.remember_source(APP, image_of(store, "base"))

    with reopened(store) as again:
        assert sweep(again).items == ()
    with Store.open(store.root) as again:
        pruned = prune(again, Scope())
        assert names(pruned, "source") == {str(APP)}
        assert list(again.content.walk()) == []


def test_a_removal_changes_the_generation(store: Store) -> None:
    cached(store, "a")
    before = os.stat(store.paths.index).st_ino

    with reopened(store) as again:
        prune(again, Scope())

    assert os.stat(store.paths.index).st_ino != before


def test_a_state_keeps_the_one_whose_changes_it_has(store: Store, add_image: AddImage) -> None:
    donor = cached(store, "donor")
    base = cached(store, "base")
    adopted = store.snapshots.adopt(base, donor)
    store.images.tag(APP, add_image(store, adopted))
    again = reopened(store)

    prune(again, Scope())

    kept = {row[0] for row in again.database.query("SELECT id FROM snapshots")}
    assert kept == {donor.id, base.id, adopted.id}
    assert names_in(again, adopted.id) == ["base", "donor"]


def test_a_state_goes_before_the_one_whose_changes_it_has(store: Store) -> None:
    donor = cached(store, "donor")
    adopted = store.snapshots.adopt(None, donor)
    store.records.save(
        key("fast", "adopted"), key("slow", "adopted"), snapshot=adopted.id,
        step=key("step", "adopted"), name="adopted", parts=(),
    )  # fmt: skip
    age(store, donor, 1000)
    again = reopened(store)

    prune(again, Scope(ids=(str(donor.id),)))
    assert len(again.database.query("SELECT id FROM snapshots")) == 2
    prune(again, Scope())

    assert again.database.query("SELECT id FROM snapshots") == []


def test_what_a_state_was_corrected_from_stays(store: Store, add_image: AddImage) -> None:
    first = cached(store, "first")
    active = store.snapshots.prepare(first)
    with store.snapshots.mounted(active) as fd:
        os.close(os.open("second", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
    patch = store.snapshots.commit(active, is_patch=True)
    store.images.tag(APP, add_image(store, patch))
    again = reopened(store)

    prune(again, Scope())

    assert names_in(again, patch.id) == ["first", "second"]
    found = again.snapshots.get(patch.id)
    assert [one.id for one in again.snapshots.chain(found)] == [patch.id]
    assert [one.id for one in again.snapshots.stack(found)] == [first.id, patch.id]
    assert again.snapshots.base(found) is None


def names_in(store: Store, snapshot_id: int) -> list[str]:
    with store.snapshots.viewed(store.snapshots.get(snapshot_id)) as fd:
        return sorted(os.listdir(fd))
