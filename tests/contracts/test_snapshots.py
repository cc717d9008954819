"""What every snapshotter promises."""

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE, S_ISCHR

import pytest

from builder.errors import NotFound
from builder.store.selection import SnapshotterName
from builder.store.snapshotter import Active, Snapshot
from builder.store.store import Store

pytestmark = pytest.mark.root


@pytest.fixture(params=["overlay", "copying"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kind: SnapshotterName = request.param
    with Store.open(str(tmp_path / "state"), snapshotter=kind) as opened:
        yield opened


def write(dir_fd: int, path: str, content: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=dir_fd)
    os.write(fd, content.encode())
    os.close(fd)


def read(dir_fd: int, path: str) -> str:
    fd = os.open(path, os.O_RDONLY, dir_fd=dir_fd)
    try:
        return os.read(fd, 1000).decode()
    finally:
        os.close(fd)


def base(store: Store) -> Snapshot:
    active = store.snapshots.prepare(None)
    with store.snapshots.mounted(active) as fd:
        os.mkdir("etc", dir_fd=fd)
        write(fd, "etc/kept", "kept")
        write(fd, "etc/changed", "before")
        write(fd, "etc/deleted", "x")
        os.mkdir("old", dir_fd=fd)
        write(fd, "old/inner", "x")
        os.symlink("etc/kept", "link", dir_fd=fd)
    return store.snapshots.commit(active)


def changed(store: Store) -> Snapshot:
    active = store.snapshots.prepare(base(store))
    with store.snapshots.mounted(active) as fd:
        write(fd, "etc/changed", "after!")
        os.unlink("etc/deleted", dir_fd=fd)
        os.unlink("old/inner", dir_fd=fd)
        os.rmdir("old", dir_fd=fd)
        os.mkdir("new", dir_fd=fd)
        write(fd, "new/file", "new")
    return store.snapshots.commit(active)


def tree(path: str) -> dict[str, str]:
    """List a directory of changes: what kind each entry is."""
    found: dict[str, str] = {}
    for directory, names, files in os.walk(path):
        for name in (*names, *files):
            full = os.path.join(directory, name)
            is_whiteout = S_ISCHR(os.lstat(full).st_mode)
            kind = "whiteout" if is_whiteout else "directory" if name in names else "file"
            found[os.path.relpath(full, path)] = kind
    return found


def test_no_snapshot_is_an_empty_tree(store: Store) -> None:
    with store.snapshots.viewed(None) as fd:
        assert os.listdir(fd) == []
        assert S_IMODE(os.fstat(fd).st_mode) == 0o755
    assert store.snapshots.lowers(None) == ()


def test_a_committed_state_shows_its_own_and_its_parents_files(store: Store) -> None:
    snapshot = changed(store)

    with store.snapshots.viewed(snapshot) as fd:
        assert sorted(os.listdir(fd)) == ["etc", "link", "new"]
        assert read(fd, "etc/kept") == "kept"
        assert read(fd, "etc/changed") == "after!"
        assert read(fd, "link") == "kept"
        assert not os.path.exists(f"/proc/self/fd/{fd}/etc/deleted")


def test_the_diff_holds_the_changes_alone(store: Store) -> None:
    snapshot = changed(store)

    assert tree(snapshot.diff) == {
        "etc": "directory",
        "etc/changed": "file",
        "etc/deleted": "whiteout",
        "new": "directory",
        "new/file": "file",
        "old": "whiteout",
    }


def test_the_parent_is_untouched(store: Store) -> None:
    parent = store.snapshots.base(changed(store))

    with store.snapshots.viewed(parent) as fd:
        assert read(fd, "etc/changed") == "before"
        assert read(fd, "old/inner") == "x"


def test_the_root_keeps_its_parents_mode_and_owner(store: Store) -> None:
    active = store.snapshots.prepare(None)
    with store.snapshots.mounted(active) as fd:
        os.fchmod(fd, 0o711)
        os.fchown(fd, 5, 6)
    child = store.snapshots.prepare(store.snapshots.commit(active))

    with store.snapshots.mounted(child) as fd:
        status = os.fstat(fd)

    assert (S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o711, 5, 6)


def test_an_active_state_can_be_opened_again(store: Store) -> None:
    active = store.snapshots.prepare(base(store))
    with store.snapshots.mounted(active) as fd:
        write(fd, "first", "1")

    with store.snapshots.mounted(active) as fd:
        write(fd, "second", "2")
        assert read(fd, "first") == "1"


def test_a_directory_of_changes_can_be_filled_directly(store: Store) -> None:
    active = store.snapshots.prepare_diff(base(store))
    os.mkdir(f"{active.upper}/etc")
    Path(f"{active.upper}/etc/added").write_text("added")
    os.mknod(f"{active.upper}/etc/deleted", 0o020000, 0)

    snapshot = store.snapshots.commit(active)

    with store.snapshots.viewed(snapshot) as fd:
        assert sorted(os.listdir(f"/proc/self/fd/{fd}/etc")) == ["added", "changed", "kept"]
    assert tree(snapshot.diff)["etc/deleted"] == "whiteout"


def test_the_description_of_an_active_state_is_enough_for_a_sandbox(store: Store) -> None:
    active: Active = store.snapshots.prepare(base(store))

    if active.lowers:
        assert os.path.isdir(active.work)
    else:
        assert os.path.isdir(f"{active.upper}/etc")


def test_a_discarded_state_is_gone(store: Store) -> None:
    active = store.snapshots.prepare(base(store))

    store.snapshots.discard(active)

    assert not os.path.exists(active.upper)
    with pytest.raises(NotFound):
        store.snapshots.get(active.id)


def test_a_state_of_a_closed_store_is_there_unless_it_was_not_committed(store: Store) -> None:
    snapshot = changed(store)
    active = store.snapshots.prepare(snapshot)
    store.close()

    with Store.open(store.root) as again:
        assert again.snapshots.get(snapshot.id) == snapshot
        assert again.snapshots.find(active.id) is None
    assert not os.path.exists(active.upper)


def test_a_container_keeps_its_state_over_processes(store: Store) -> None:
    os.mkdir(f"{store.paths.containers}/c1")
    active = store.snapshots.prepare(base(store), owner="container:c1")
    with store.snapshots.mounted(active) as fd:
        write(fd, "mine", "mine")
    store.close()

    with Store.open(store.root) as again:
        found = again.snapshots.active("container:c1")
        assert found is not None
        assert os.path.exists(f"{found.upper}/mine")
        assert again.snapshots.active("container:other") is None


def test_hard_links_special_files_and_attributes_survive(store: Store) -> None:
    active = store.snapshots.prepare(base(store))
    with store.snapshots.mounted(active) as fd:
        write(fd, "a", "linked")
        os.link("a", "b", src_dir_fd=fd, dst_dir_fd=fd)
        os.mkfifo("pipe", dir_fd=fd)
        os.setxattr(f"/proc/self/fd/{fd}/a", "user.note", b"1")
        os.chmod("a", 0o4755, dir_fd=fd)
    child = store.snapshots.prepare(store.snapshots.commit(active))

    with store.snapshots.mounted(child) as fd:
        first, second = os.stat("a", dir_fd=fd), os.stat("b", dir_fd=fd)
        note = os.getxattr(f"/proc/self/fd/{fd}/b", "user.note")

    assert first.st_ino == second.st_ino
    assert S_IMODE(first.st_mode) == 0o4755
    assert note == b"1"


def test_layers_of_a_chain_are_equal_whoever_made_the_snapshots(store: Store) -> None:
    snapshot = changed(store)

    layers = store.layers.ensure_all(snapshot, "none")

    assert len(layers) == 2
    assert store.layers.by_chain(layers[0].diff_id) == store.snapshots.base(snapshot)
    assert store.layers.ensure_all(snapshot, "none") == layers


def test_a_deep_chain_still_shows_everything(store: Store) -> None:
    snapshot: Snapshot | None = None
    for number in range(140):
        active = store.snapshots.prepare(snapshot)
        Path(f"{active.upper}/f{number}").write_text(str(number))
        snapshot = store.snapshots.commit(active)

    with store.snapshots.viewed(snapshot) as fd:
        names = os.listdir(fd)
        assert read(fd, "f0") == "0"

    assert snapshot is not None
    assert len(names) == snapshot.depth
    assert len(store.snapshots.lowers(snapshot)) <= 128
