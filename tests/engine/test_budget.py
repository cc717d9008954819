"""The space budget: its limits, and that it is kept by a build."""

from pathlib import Path

import pytest

from builder.engine.budget import Budget, budget, keep
from builder.errors import UsageError
from builder.oci.digest import Digest, key
from builder.store.store import Store
from tests.store.conftest import new_image, new_snapshot

GB = 1 << 30


def test_the_default_is_a_share_of_the_disk_within_reason() -> None:
    assert budget("", {}, 1000 * GB).max_used_bytes == 150 * GB
    assert budget("", {}, 100 * GB).max_used_bytes == 20 * GB
    assert budget("", {}, 10 * GB).max_used_bytes == 5 * GB


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = tmp_path / "builder.toml"
    path.write_text('[gc]\nmax-used = "1GB"\nmin-free = "10%"\nkeep-duration = "48h"\n')

    found = budget(str(path), {"max-used": "2g"}, 100 * GB)

    assert found == Budget(max_used_bytes=2 * GB, min_free_bytes=10 * GB, unused_s=48 * 3600)


def test_the_budget_can_be_turned_off(tmp_path: Path) -> None:
    path = tmp_path / "builder.toml"
    path.write_text("[gc]\nenabled = false\n")

    assert not budget(str(path), {}, GB).is_on
    assert not budget("", {"enabled": "off"}, GB).is_on


@pytest.mark.parametrize(
    "text", ["[gc]\nmax-used = 'much'", "[gc]\nmaxused = 1", "gc = 3", "[gc", "[gc]\nmin-free='%'"]
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "builder.toml"
    path.write_text(text)

    with pytest.raises(UsageError):
        budget(str(path), {}, GB)


@pytest.mark.namespaces
def test_what_an_image_needs_neither_counts_nor_goes(tmp_path: Path) -> None:
    root = str(tmp_path / "state")
    with Store.open(root) as store:
        base = new_snapshot(store, None, {"base": b"x" * 200_000})
        store.images.add(new_image(store, base))
        extra = new_snapshot(store, base, {"extra": b"y" * 100_000})
        store.records.save(
            _key("a"), _key("a"), snapshot=extra.id, step=_key("s"), name="", parts=()
        )

    keep(root, None, given=(("max-used", "150000"),))
    with Store.open(root) as store:
        assert store.snapshots.find(extra.id) is not None
    keep(root, None, given=(("max-used", "50000"),))

    with Store.open(root) as store:
        assert store.snapshots.find(extra.id) is None
        assert store.snapshots.find(base.id) is not None


def _key(text: str) -> Digest:
    return key("test", text)
