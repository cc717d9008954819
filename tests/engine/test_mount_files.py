"""Cache mounts as documents and blobs: round trips, deduplication, hostile documents."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from builder.engine import mount_files
from builder.engine.cache_layout import CacheLayout
from builder.engine.mount_files import MOUNT_TYPE, export_mounts, import_mounts
from builder.errors import BuilderError
from builder.exporters.layout import REF_NAME
from builder.oci import json
from builder.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "state"), snapshotter="copying") as opened:
        yield opened


@pytest.fixture
def layout(tmp_path: Path) -> CacheLayout:
    return CacheLayout(str(tmp_path / "layout"))


def mount(store: Store, **files: bytes) -> Path:
    with store.cache_mounts.held("pip") as held:
        for name, content in files.items():
            Path(held.path, name).write_bytes(content)
        return Path(held.path)


def export(store: Store, layout: CacheLayout) -> int:
    with layout.written():
        entries, [done] = export_mounts(store, layout, store.cache_mounts.usages())
        layout.publish(entries, lambda entry: mount_files.reach(layout, entry))
    return done.written_bytes


def test_a_mount_comes_back_as_it_was(store: Store, layout: CacheLayout) -> None:
    path = mount(store, plain=b"a" * 9_000_000, empty=b"")
    (path / "directory").mkdir(mode=0o700)
    (path / "directory/tool").write_bytes(b"tool")
    (path / "directory/tool").chmod(0o4755)
    (path / "link").symlink_to("/etc/passwd")
    os.link(path / "empty", path / "same")
    os.utime(path / "plain", ns=(5, 1_000_000_007))
    os.utime(path / "directory", ns=(5, 1_000_000_009))
    export(store, layout)

    [done] = import_mounts(store, layout, is_replacing=True)

    assert done.is_new
    assert (path / "plain").read_bytes() == b"a" * 9_000_000
    assert (path / "plain").stat().st_mtime_ns == 1_000_000_007
    assert (path / "directory").stat().st_mtime_ns == 1_000_000_009
    assert (path / "directory").stat().st_mode & 0o7777 == 0o700
    assert (path / "directory/tool").stat().st_mode & 0o7777 == 0o4755
    assert (path / "link").readlink() == Path("/etc/passwd")
    assert (path / "same").stat().st_ino == (path / "empty").stat().st_ino


def test_an_unchanged_part_moves_once(store: Store, layout: CacheLayout) -> None:
    path = mount(store, one=os.urandom(100_000), two=os.urandom(100_000))
    assert export(store, layout) > 200_000
    assert export(store, layout) == 0
    (path / "three").write_bytes((path / "one").read_bytes())
    assert export(store, layout) == 0
    (path / "two").write_bytes(os.urandom(100_000))

    assert 100_000 <= export(store, layout) < 110_000

    assert len(os.listdir(f"{layout.path}/blobs/sha256")) == 3


def test_a_damaged_piece_leaves_no_mount(store: Store, layout: CacheLayout) -> None:
    mount(store, one=os.urandom(1000))
    export(store, layout)
    blobs = Path(layout.path, "blobs/sha256")
    largest = max(blobs.iterdir(), key=lambda blob: blob.stat().st_size)
    largest.write_bytes(b"x" * largest.stat().st_size)

    with pytest.raises(BuilderError):
        import_mounts(store, layout, is_replacing=True)

    assert store.cache_mounts.usages() == ()


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/out", "link/out", "..", "link"])
def test_nothing_is_written_outside_the_mount(
    store: Store, layout: CacheLayout, tmp_path: Path, path: str
) -> None:
    facts = {"mode": 0o644, "uid": 0, "gid": 0, "mtime_ns": 0}
    files = [
        {**facts, "path": "", "type": "directory"},
        {**facts, "path": "link", "type": "link", "target": str(tmp_path)},
        {**facts, "path": path, "type": "file", "pieces": []},
    ]
    document = {"version": 1, "id": "evil", "namespace": "", "files": files}
    with layout.written():
        entry = layout.add(json.dumps(document), MOUNT_TYPE)
        layout.publish([entry._replace(annotations=((REF_NAME, "x"),))], lambda _entry: ())
    before = sorted(os.listdir(tmp_path))

    with suppress(BuilderError):  # or it is written inside the mount, where it may be
        import_mounts(store, layout)

    assert sorted(os.listdir(tmp_path)) == before
    assert not Path("/out").exists()
