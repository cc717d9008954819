"""The check of a whole store."""

import os
import shutil
from collections.abc import Callable

import pytest

from builder.oci.digest import key
from builder.oci.reference import parse_reference
from builder.store.fsck import fsck
from builder.store.store import Store
from tests.store.conftest import new_image
from tests.store.test_gc import cached

pytestmark = pytest.mark.root

APP = parse_reference("app:v1")


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with a bit of everything, durable, which only the test has open."""
    snapshot = cached(store, "upper", cached(store, "lower"))
    store.images.tag(APP, new_image(store, snapshot))
    with store.cache_mounts.held("id"):
        pass
    store.sync()
    return store


def layer_path(store: Store) -> str:
    stored = store.images.get(APP)
    assert stored is not None
    _, manifest = store.images.manifest(stored.descriptor)
    return store.content.path(manifest.layers[0].digest)


def test_a_good_store_has_no_problems(filled: Store) -> None:
    assert fsck(filled, is_repairing=False) == ()
    assert fsck(filled, is_repairing=True) == ()


def flip_a_byte(store: Store) -> None:
    path = layer_path(store)
    os.chmod(path, 0o600)
    with open(path, "r+b") as blob:
        blob.seek(20)
        byte = blob.read(1)[0]
        blob.seek(20)
        blob.write(bytes([byte ^ 1]))


def truncate_a_blob(store: Store) -> None:
    os.truncate(layer_path(store), 10)


def remove_a_blob(store: Store) -> None:
    os.unlink(layer_path(store))


def swap_two_blobs(store: Store) -> None:
    first, second = sorted(os.listdir(store.paths.blobs))[:2]
    os.rename(f"{store.paths.blobs}/{first}", f"{store.root}/tmp/x")
    os.rename(f"{store.paths.blobs}/{second}", f"{store.paths.blobs}/{first}")
    os.rename(f"{store.root}/tmp/x", f"{store.paths.blobs}/{second}")


def remove_a_layer_directory(store: Store) -> None:
    shutil.rmtree(f"{store.paths.snapshots}/1")


def remove_a_row(store: Store) -> None:
    store.database.query("DELETE FROM snapshots WHERE id = 1")


def orphan_a_record(store: Store) -> None:
    store.database.query("UPDATE records SET snapshot = 77")


def remove_the_index(store: Store) -> None:
    os.unlink(store.paths.index)


def forge_the_index(store: Store) -> None:
    with open(store.paths.index, "w", encoding="utf-8") as index:
        index.write("{}")


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_byte, truncate_a_blob, remove_a_blob, swap_two_blobs, remove_a_layer_directory,
        remove_a_row, orphan_a_record, remove_the_index, forge_the_index,
    ],
)  # fmt: skip
def test_damage_is_found_and_repaired_for_good(
    filled: Store, damage: Callable[[Store], None]
) -> None:
    damage(filled)

    found = fsck(filled, is_repairing=False)
    repaired = fsck(filled, is_repairing=True)

    assert found
    assert not any(problem.is_repaired for problem in found)
    assert all(problem.is_repaired for problem in repaired)
    assert fsck(filled, is_repairing=False) == ()


def test_a_quick_check_does_not_read_the_blobs(filled: Store) -> None:
    flip_a_byte(filled)

    assert fsck(filled, is_repairing=False, is_deep=False) == ()


def test_an_image_whose_blob_is_damaged_loses_its_name_and_can_be_made_again(
    filled: Store,
) -> None:
    remove_a_blob(filled)

    fsck(filled, is_repairing=True)

    assert filled.images.get(APP) is None
    record = filled.records.find(key("fast", "upper"))
    assert record is not None
    assert record.snapshot is not None
    filled.images.tag(APP, new_image(filled, filled.snapshots.get(record.snapshot)))
    assert fsck(filled, is_repairing=False) == ()
