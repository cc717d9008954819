"""Where the disk went."""

import os
from pathlib import Path

import pytest

from builder.oci.reference import parse_reference
from builder.store.store import Store
from builder.store.usage import cache_entries, image_sizes, usage
from tests.store.conftest import new_image, new_snapshot
from tests.store.test_gc import CONTENT, cached

pytestmark = pytest.mark.root


def test_an_empty_store_takes_nothing(store: Store) -> None:
    assert [(u.kind, u.entries, u.size_bytes) for u in usage(store)] == [
        ("image", 0, 0), ("cache", 0, 0), ("cache-mount", 0, 0), ("container", 0, 0),
        ("volume", 0, 0),
    ]  # fmt: skip


def test_each_kind_is_counted(store: Store) -> None:
    base = cached(store, "base")
    descriptor = new_image(store, base)
    store.images.tag(parse_reference("app"), descriptor)
    cached(store, "step", base)
    with store.cache_mounts.held("id") as mount:
        Path(mount.path, "f").write_bytes(CONTENT)
    os.mkdir(f"{store.paths.containers}/c1")
    active = store.snapshots.prepare(base, owner="container:c1")
    Path(active.upper, "f").write_bytes(CONTENT)
    store.pins.add("container:c1", images=[descriptor.digest])
    Path(store.paths.volumes, "v").mkdir()

    found = {line.kind: line for line in usage(store)}

    assert {kind: (u.entries, u.active) for kind, u in found.items()} == {
        "image": (1, 1), "cache": (1, 1), "cache-mount": (1, 0), "container": (1, 0),
        "volume": (1, 0),
    }  # fmt: skip
    assert found["image"].reclaimable_bytes == 0
    for kind in ("image", "cache", "cache-mount", "container"):
        assert found[kind].size_bytes >= len(CONTENT)


def test_what_images_share_is_counted_once(store: Store) -> None:
    base = new_snapshot(store, None, {"f": CONTENT})
    first = new_image(store, base)
    second = new_image(store, new_snapshot(store, base, {"g": b"1"}))
    for number, descriptor in enumerate((first, second)):
        store.images.tag(parse_reference(f"app:{number}"), descriptor)

    sizes = image_sizes(store)
    whole = usage(store)[0].size_bytes

    assert sizes[first.digest].shared_bytes >= len(CONTENT)
    shared = sizes[first.digest].shared_bytes
    assert sizes[first.digest].size_bytes - shared < len(CONTENT)
    assert whole == sizes[first.digest].size_bytes + sizes[second.digest].size_bytes - shared


def test_the_cache_is_listed(store: Store) -> None:
    base = cached(store, "base")
    store.images.tag(parse_reference("app"), new_image(store, base))
    step = cached(store, "step", base)
    with store.cache_mounts.held("id"):
        pass

    entries = {entry.name: entry for entry in cache_entries(store)}

    assert entries[str(base.id)].is_shared
    assert not entries[str(step.id)].is_shared
    assert entries[str(step.id)].parent == str(base.id)
    assert entries[str(step.id)].is_in_use
    assert entries[str(step.id)].description == "RUN test"
    assert [e.description for e in entries.values() if e.kind == "cache-mount"] == ["id"]
