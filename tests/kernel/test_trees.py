import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import KernelError
from builder.kernel.trees import Cursor, disk_usage, remove_tree


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def make_deep(root: int, depth: int) -> None:
    with Cursor(root) as cursor:
        for _ in range(depth):
            os.mkdir("d", dir_fd=cursor.fd)
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=cursor.fd))
            assert cursor.enter("d")


def test_a_cursor_comes_back_the_way_it_went(root: int) -> None:
    make_deep(root, 100)
    inodes = []
    before = len(os.listdir("/proc/self/fd"))

    with Cursor(root, kept=2) as cursor:
        while cursor.enter("d"):
            inodes.append(os.fstat(cursor.fd).st_ino)
            assert len(os.listdir("/proc/self/fd")) < before + 6
        while cursor.depth:
            assert os.fstat(cursor.fd).st_ino == inodes.pop()
            cursor.leave()
        assert os.fstat(cursor.fd).st_ino == os.fstat(root).st_ino

    assert len(os.listdir("/proc/self/fd")) == before


def test_a_cursor_never_follows_links_or_files(root: int, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/")
    (tmp_path / "file").touch()

    with Cursor(root) as cursor:
        assert [cursor.enter(name) for name in ("link", "file", "absent")] == [False] * 3


def test_a_cursor_notices_that_its_way_back_was_moved(root: int, tmp_path: Path) -> None:
    make_deep(root, 3)
    with Cursor(root, kept=0) as cursor:
        cursor.enter("d")
        cursor.enter("d")
        (tmp_path / "elsewhere").mkdir()
        os.rename(tmp_path / "d/d", tmp_path / "elsewhere/d")

        with pytest.raises(KernelError, match="Stale"):
            cursor.leave()


def test_a_deep_tree_is_removed(root: int, tmp_path: Path) -> None:
    make_deep(root, 1500)

    remove_tree(root, "d")

    assert os.listdir(tmp_path) == ["f"]


def test_a_tree_without_permissions_is_removed_and_links_are_not_followed(
    root: int, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    tree = tmp_path / "tree/closed"
    tree.mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    os.mkfifo(tree / "fifo")
    tree.chmod(0)

    remove_tree(root, "tree")
    remove_tree(root, "absent")

    assert os.listdir(tmp_path) == ["outside"]
    assert os.listdir(outside) == ["kept"]


def test_usage_counts_hard_links_once(root: int, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    before = disk_usage(root)
    os.link(tmp_path / "a", tmp_path / "d/b")

    assert disk_usage(root) == before
    assert before[1] == 3
    assert before[0] >= 100_000
