"""Opening, closing, and what happens in between."""

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import StoreError
from builder.store.store import Store
from tests.store.conftest import new_snapshot
from tests.store.test_gc import cached

MS_REC_PRIVATE = 0x4000 | 0x40000
CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_REMOUNT = 1, 32


def test_a_new_directory_is_private_and_an_oci_layout(store: Store) -> None:
    assert os.stat(store.root).st_mode & 0o777 == 0o700
    assert Path(store.paths.content, "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'
    assert os.path.exists(store.paths.index)
    assert not os.path.exists(store.paths.database)


def test_a_directory_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)

    with Store.open(str(tmp_path)):
        assert os.stat(tmp_path).st_mode & 0o777 == 0o711


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")

    with pytest.raises(StoreError, match="precious"):
        Store.open(str(tmp_path))

    assert os.listdir(tmp_path) == ["precious"]


def test_a_fresh_file_system_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()

    with Store.open(str(tmp_path)):
        pass


def test_a_file_is_no_state_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError, match="not a directory"):
        Store.open(str(tmp_path / "file"))


@pytest.mark.root
def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, -1)

    with pytest.raises(StoreError, match="user 1234"):
        Store.open(str(tmp_path))


def test_the_snapshotter_is_chosen_once(root: str) -> None:
    with Store.open(root, snapshotter="copying"):
        pass

    with Store.open(root), pytest.raises(StoreError, match="copying"):
        Store.open(root, snapshotter="overlay")


def test_an_unknown_snapshotter_is_refused(store: Store, root: str) -> None:
    Path(store.paths.snapshotter).write_text("better")

    with pytest.raises(StoreError, match="better"):
        Store.open(root)


def test_many_may_make_it_at_the_same_time(root: str) -> None:
    children = []
    for number in range(6):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with Store.open(root) as store:
                    store.content.put(b"%d" % number)
                    store.records.remember(b"%d" % number, b"x")
                status = 0
            finally:
                os._exit(status)
        children.append(child)

    statuses = [os.waitpid(child, 0)[1] for child in children]

    assert statuses == [0] * 6
    with Store.open(root) as store:
        assert len(list(store.content.walk())) == 6
        assert store.database.query("SELECT count(*) FROM memos") == [(6,)]


def test_temporary_directories_end_with_the_store(root: str) -> None:
    with Store.open(root) as store:
        first, second = store.temporary(), store.temporary("-context")
        assert os.path.isdir(first)
        assert first != second

    assert not os.path.exists(first)
    assert not os.path.exists(second)


def test_discarding_is_a_rename(store: Store) -> None:
    path = store.temporary()
    Path(path, "file").write_text("x")

    store.discard(path)

    assert not os.path.exists(path)
    assert len(os.listdir(store.paths.trash)) == 1
    store.empty_trash()
    assert os.listdir(store.paths.trash) == []


@pytest.mark.root
def test_later_everything_is_durable_and_the_trash_is_empty(root: str) -> None:
    store = Store.open(root)
    cached(store, "f")
    store.content.put(b"x")
    done = Path(root, "tmp", "done")

    store.sync_later(done.touch)

    deadline = time.monotonic() + 20
    while not done.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    with Store.open(root) as again:
        assert again.content.unsynced() == []
        assert again.snapshots.unsynced() == []
        assert os.listdir(again.paths.trash) == []


@pytest.mark.root
def test_the_detached_child_holds_nothing_of_its_parent(root: str) -> None:
    store = Store.open(root)
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)  # noqa: FBT003 - the signature is Python's
    holding = Path(root, "tmp", "go")

    def wait() -> None:
        while not holding.exists():
            time.sleep(0.005)

    store.sync_later(wait)
    os.close(writing)

    assert os.read(reading, 1) == b""
    os.close(reading)
    holding.touch()


def in_private_mounts(work: Callable[[], str]) -> str:
    """Run something in a child with its own mounts; give back what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            libc.unshare(CLONE_NEWNS)
            libc.mount(None, b"/", None, MS_REC_PRIVATE, None)
            os.write(writing, work().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as reader:
        text = reader.read().decode()
    os.waitpid(child, 0)
    return text


def mount_tmpfs(path: str, options: str, flags: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b"t", path.encode(), b"tmpfs", flags, options.encode()) == 0


def told(work: Callable[[], object]) -> str:
    try:
        work()
    except StoreError as error:
        return f"{error.what} | {error.fix}"
    return "no error"


@pytest.mark.root
def test_a_full_disk_is_told_with_a_remedy_and_leaves_no_partial_blob(tmp_path: Path) -> None:
    def work() -> str:
        mount_tmpfs(str(tmp_path), "size=1m")
        with Store.open(str(tmp_path)) as store:
            text = told(lambda: store.content.put(b"x" * 2_000_000))
            left = os.listdir(store.paths.ingest) + os.listdir(store.paths.blobs)
            return f"{text} {left}"

    text = in_private_mounts(work)

    assert "no space is left" in text
    assert "builder prune" in text
    assert text.endswith("[]")


@pytest.mark.root
def test_a_full_inode_table_is_told(tmp_path: Path) -> None:
    def work() -> str:
        mount_tmpfs(str(tmp_path), "nr_inodes=40")
        with Store.open(str(tmp_path)) as store:
            return told(lambda: [new_snapshot(store, None, {}) for _ in range(40)])

    assert "no space is left" in in_private_mounts(work)


@pytest.mark.root
def test_a_read_only_disk_is_told(tmp_path: Path) -> None:
    def work() -> str:
        mount_tmpfs(str(tmp_path), "size=1m")
        mount_tmpfs(str(tmp_path), "size=1m", MS_REMOUNT | MS_RDONLY)
        return told(lambda: Store.open(str(tmp_path)))

    assert "read-only" in in_private_mounts(work)


@pytest.mark.root
def test_a_umask_changes_nothing(root: str) -> None:
    before = os.umask(0o077)
    try:
        with Store.open(root) as store:
            snapshot = new_snapshot(store, None, {"d/f": b"1"})
            with store.snapshots.viewed(snapshot) as fd:
                assert os.fstat(fd).st_mode & 0o777 == 0o755
    finally:
        os.umask(before)
