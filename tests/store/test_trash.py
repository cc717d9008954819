"""Deleting in two steps."""

import fcntl
import os
import struct
from pathlib import Path

import pytest

from builder.store import trash


@pytest.fixture
def bin_(tmp_path: Path) -> str:
    (tmp_path / "trash").mkdir()
    return str(tmp_path / "trash")


def test_what_is_not_there_is_not_discarded(bin_: str, tmp_path: Path) -> None:
    assert not trash.discard(str(tmp_path / "absent"), bin_)
    assert trash.is_empty(bin_)


def test_a_deep_tree_is_removed(bin_: str) -> None:
    fd = os.open(bin_, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)

    assert trash.empty(bin_) == []
    assert trash.is_empty(bin_)


def test_a_link_is_removed_and_not_followed(bin_: str, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    os.symlink(tmp_path / "kept", f"{bin_}/link")

    trash.empty(bin_)

    assert trash.is_empty(bin_)
    assert (tmp_path / "kept/file").exists()


@pytest.mark.root
def test_immutable_files_are_removed(bin_: str) -> None:
    os.makedirs(f"{bin_}/a/b")
    fd = os.open(f"{bin_}/a/b/file", os.O_CREAT)
    try:
        fcntl.ioctl(fd, 0x40086602, struct.pack("i", 0x10))
    except OSError:
        pytest.skip("this file system has no immutable files")
    finally:
        os.close(fd)

    assert trash.empty(bin_) == []
    assert trash.is_empty(bin_)


def test_gently_only_small_trees_are_removed(bin_: str) -> None:
    for name, count in (("small", 3), ("large", 400)):
        os.mkdir(f"{bin_}/{name}")
        for number in range(count):
            Path(f"{bin_}/{name}/{number}").touch()

    trash.empty(bin_, is_gentle=True)

    assert os.listdir(bin_) == ["large"]
