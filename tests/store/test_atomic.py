"""Whole files or none."""

import os
from pathlib import Path

import pytest

from builder.errors import StoreError
from builder.store import atomic


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"long old content")

    atomic.write(str(path), b"new", mode_bits=0o640)

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["f"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "d"
    (path / "child").mkdir(parents=True)

    with pytest.raises(StoreError):
        atomic.write(str(path), b"new")

    assert os.listdir(tmp_path) == ["d"]


def test_of_two_creations_the_first_stays(tmp_path: Path) -> None:
    path = tmp_path / "f"

    atomic.create(str(path), b"first")
    atomic.create(str(path), b"second")

    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["f"]


def test_reading_stops_one_byte_after_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDONLY)

    content = atomic.read_all(fd, 4)

    os.close(fd)
    assert content == b"01234"
