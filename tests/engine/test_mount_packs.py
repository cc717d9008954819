"""Packs of cache mounts: few blobs for many files, and the same ones for what did not change."""

import random
from pathlib import Path

import pytest

from builder.engine.mount_packs import packed_mounts
from builder.store.store import Store

pytestmark = pytest.mark.namespaces


def filled(store: Store, files: dict[str, bytes]) -> None:
    with store.cache_mounts.held("pip") as mount:
        for name, content in files.items():
            Path(mount.path, name).write_bytes(content)


def packs_of(store: Store) -> list[str]:
    [packed] = packed_mounts(store)
    for pack in packed.packs:
        assert Path(packed.paths[pack.digest]).stat().st_size == pack.size_bytes
    return [pack.digest for pack in packed.packs]


def test_a_changed_file_changes_few_packs(tmp_path: Path) -> None:
    chance = random.Random(1)
    with Store.open(str(tmp_path / "state")) as store:
        filled(store, {f"{n:03}": chance.randbytes(100_000) for n in range(200)})
        before = packs_of(store)

        filled(store, {"100": chance.randbytes(100_000)})
        after = packs_of(store)

    assert 5 < len(before) < 40
    assert 0 < len(set(after) - set(before)) <= 3


def test_an_empty_mount_has_no_pack(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "state")) as store:
        filled(store, {})

        assert packs_of(store) == []
