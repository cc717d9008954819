"""The store is killed at every point where it asks something of the kernel or of SQLite.

A child runs a scenario and counts its calls of C functions that write; at the Nth it kills itself,
before the call is made. Then the store is opened again, checked, and the scenario is repeated.
Each run tries every few of the points, beginning elsewhere.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from builder.oci.digest import key
from builder.oci.reference import parse_reference
from builder.store.fsck import fsck
from builder.store.gc import Scope, prune
from builder.store.replicate import replicate
from builder.store.store import Store
from builder.store.unpack import unpack_image
from tests.store.conftest import new_image, new_snapshot

pytestmark = pytest.mark.root

POINTS = frozenset({
    "open", "rename", "mkdir", "chmod", "unlink", "rmdir", "link", "write", "fdatasync", "fsync",
    "execute", "executemany", "flock", "close",
})  # fmt: skip
APP = parse_reference("app:v1")
FAST = key("fast")


def build(root: str) -> None:
    """Two steps, their records, an image with a name."""
    with Store.open(root) as store:
        record = store.records.find(FAST)
        if record is None or record.snapshot is None:
            lower = new_snapshot(store, None, {"f": b"1" * 1000, "g": b"2"})
            upper = new_snapshot(store, lower, {"f": None, "h": b"3"})
            store.records.save(
                FAST, key("slow"), snapshot=upper.id, step=key("step"), name="RUN x", parts=()
            )
        else:
            upper = store.snapshots.get(record.snapshot)
        store.images.tag(APP, new_image(store, upper))


def retag(root: str) -> None:
    """Another image takes the name, the old one goes with its cache."""
    with Store.open(root) as store:
        store.images.tag(APP, new_image(store, new_snapshot(store, None, {"other": b"1"})))
    with Store.open(root) as store:
        prune(store, Scope(dangling_images=True))


def unpack(root: str) -> None:
    """The image of a store without snapshots is unpacked."""
    with Store.open(root) as store:
        stored = store.images.get(APP)
        assert stored is not None
        _, manifest = store.images.manifest(stored.descriptor)
        assert unpack_image(store, manifest, store.images.config(manifest)) is not None


def without_snapshots(root: str) -> None:
    """Make an image, and forget how it was made."""
    build(root)
    with Store.open(root) as store, store.leases.sweeping():
        store.recovery.drop_snapshots([1])


def nothing(_root: str) -> None:
    """Begin with an empty directory."""


def killed_at(point: int, work: Callable[[], None]) -> bool:
    """Run something in a child that dies at a point; say whether it got that far."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            left = point

            def count(_frame: FrameType, event: str, called: Any) -> None:
                nonlocal left
                if event == "c_call" and called.__name__ in POINTS:
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.setprofile(count)
            work()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert status in {0, signal.SIGKILL}, f"the scenario failed before point {point}"
    return status != 0


@pytest.mark.parametrize(
    ("prepare", "scenario", "stride"),
    [(nothing, build, 5), (build, retag, 11), (without_snapshots, unpack, 5)],
)
def test_no_kill_leaves_anything_wrong(
    tmp_path: Path,
    prepare: Callable[[str], None],
    scenario: Callable[[str], None],
    stride: int,
) -> None:
    point = os.getpid() % stride + 1  # over time, all of them
    prepare(str(tmp_path / "prepared"))
    had_name = prepare is not nothing
    while True:
        root = str(tmp_path / str(point))
        os.mkdir(root, 0o700)
        if had_name:
            replicate(str(tmp_path / "prepared"), root)

        was_killed = killed_at(point, lambda: scenario(root))  # noqa: B023 - called at once

        with Store.open(root) as store:
            problems = [p for p in fsck(store, is_repairing=False) if p.kind != "index"]
            assert problems == [], f"after point {point}"
            assert os.listdir(store.paths.ingest) == []
            assert os.listdir(store.paths.tmp) == []
            assert len(os.listdir(store.paths.leases)) <= 1
            assert not had_name or store.images.get(APP) is not None
        build(root)
        scenario(root)
        with Store.open(root) as store:
            assert fsck(store, is_repairing=False) == ()
            assert store.images.get(APP) is not None
        if not was_killed:
            break
        point += stride
    assert point > 20


def test_a_kill_while_naming_leaves_the_old_or_the_new_name(tmp_path: Path) -> None:
    root = str(tmp_path / "state")
    build(root)
    with Store.open(root) as store:
        old = store.images.get(APP)
        new = new_image(store, new_snapshot(store, None, {"other": b"1"}))
        store.images.add(new)
    assert old is not None

    def rename() -> None:
        with Store.open(root) as store:
            store.images.tag(APP, new)

    point = 1
    while killed_at(point, rename):
        with Store.open(root) as store:
            found = store.images.get(APP)
            assert found is not None
            assert found.descriptor in {old.descriptor, new}
            store.images.tag(APP, old.descriptor)
        point += 1
    assert point > 10
