"""Directories as they are listed: packed and unpacked again."""

import os
from pathlib import Path

import pytest

from builder.layers.folder import STATUS_BYTES, Folder, listed, packed_status

FIELDS = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_size", "st_mtime_ns", "st_ctime_ns")


def folder(path: Path) -> Folder:
    fd = os.open(path, os.O_RDONLY)
    try:
        return listed(fd)
    finally:
        os.close(fd)


def test_a_changed_file_has_another_status(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    before = packed_status(os.stat(path))

    path.write_text("three")

    assert packed_status(os.stat(path)) != before
    assert len(before) == STATUS_BYTES


def test_names_are_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    names = [b"b", b"a", b"a-", b"a.b", b"Z", b"\xff", "ä".encode()]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()

    assert folder(tmp_path).names == b"\0".join(sorted(names))


@pytest.mark.parametrize("mtime_ns", [0, -5, 1_700_000_000_123_456_789, 2**62])
def test_what_was_packed_comes_back(tmp_path: Path, mtime_ns: int) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dir").mkdir()
    if mtime_ns < 2**40:
        os.utime(tmp_path / "file", ns=(0, mtime_ns))
    found = folder(tmp_path)
    again = Folder(None, found.names, found.statuses)

    device = os.stat(tmp_path).st_dev
    for name, status in again.listing(device).items():
        real = os.lstat(tmp_path / name)
        for field in FIELDS:
            if field != "st_nlink" or name != "dir":
                assert getattr(status, field) == getattr(real, field), (name, field)
        assert packed_status(status) == packed_status(real)
    assert list(again.listing(device)) == ["dir", "file", "link"]
    assert again.is_plain


def test_an_empty_directory_is_plain(tmp_path: Path) -> None:
    found = folder(tmp_path)

    assert (found.names, found.statuses, found.split()) == (b"", b"", [])
    assert found.is_plain
    assert Folder(None, b"", b"").listing(0) == {}


@pytest.mark.parametrize("kind", ["hard link", "fifo"])
def test_what_the_packed_form_does_not_tell_is_not_plain(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a").touch()
    if kind == "fifo":
        os.mkfifo(tmp_path / "b")
    else:
        (tmp_path / "b").hardlink_to(tmp_path / "a")

    assert not folder(tmp_path).is_plain
