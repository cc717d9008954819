"""Layers of real overlay mounts: what a step did is what its layer does elsewhere."""

import ctypes
import io
import os
import pickle
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.layers.apply import apply_layer
from builder.layers.diff import changes
from builder.layers.layer import write_changes
from builder.layers.stream import BytesSource
from tests.layers.files import File, make, read, trees

pytestmark = pytest.mark.root

CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 0x40000


def layer_of(upper: Path, *lowers: Path) -> bytes:
    out = io.BytesIO()
    write_changes(changes(str(upper), list(map(str, lowers)), userxattr=False), out.write)
    return out.getvalue()


def in_overlay(base: Path, lowers: list[Path], change: Callable[[Path], None]) -> dict[str, File]:
    """Mount base/{upper,work} over lowers in a child, change it there, and read the result."""
    for name in ("upper", "work", "merged"):
        (base / name).mkdir()
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(receiving)
            mount_overlay(base, lowers)
            change(base / "merged")
            with open(sending, "wb") as pipe:
                pickle.dump(read(base / "merged"), pipe)
        finally:
            os._exit(0)
    os.close(sending)
    with open(receiving, "rb") as pipe:
        merged: dict[str, File] = pickle.load(pipe)
    os.waitpid(child, 0)
    return merged


def mount_overlay(base: Path, lowers: list[Path]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNS) == 0
    libc.mount(None, b"/", None, MS_REC_PRIVATE, None)
    options = f"lowerdir={':'.join(map(str, lowers))},upperdir={base}/upper,workdir={base}/work"
    assert libc.mount(b"o", os.fsencode(base / "merged"), b"overlay", 0, options.encode()) == 0


def applied(root: Path, archive: bytes) -> None:
    """Do what a layer says to a plain tree, by the letter of the specification."""
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as tar:
        members = tar.getmembers()
        for member in members:
            directory, _, name = member.name.rpartition("/")
            if name.startswith(".wh."):
                remove(root / directory / name.removeprefix(".wh."))
        kept = [member for member in members if "/.wh." not in f"/{member.name}"]
        for member in kept:
            place = root / member.name
            if not (member.isdir() and place.is_dir() and not place.is_symlink()):
                remove(place)
            tar.extract(member, root, numeric_owner=True)
            if member.isdir() or member.isreg():
                set_attributes(place, member)
        for member in reversed(kept):
            times = (member.mtime, member.mtime)
            os.utime(root / member.name, times, follow_symlinks=False)


def set_attributes(place: Path, member: tarfile.TarInfo) -> None:
    for key in os.listxattr(place):
        os.removexattr(place, key)
    for key, value in member.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            raw = value.encode("utf-8", "surrogateescape")
            os.setxattr(place, key.removeprefix("SCHILY.xattr."), raw)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def mutate(root: Path, seed: int) -> None:
    """Do a dozen random things to a tree, as a step would."""
    dice = random.Random(seed)
    for number in range(dice.randint(1, 12)):
        paths = sorted(read(root))
        path = root / dice.choice(paths) if paths else root / "first"
        new = path.parent / f"new{number}"
        match dice.choice(["remove", "write", "mkdir", "rename", "replace", "link", "chmod"]):
            case "remove":
                remove(path)
            case "write" if path.is_file() and not path.is_symlink():
                path.write_bytes(b"%d" % seed)
            case "mkdir" if path.is_dir() and not path.is_symlink():
                (path / f"dir{number}").mkdir()
            case "rename" if path.exists() and not path.is_dir():
                path.rename(new)
            case "replace":
                remove(path)
                path.mkdir()
                (path / "inside").write_text("x")
            case "link" if path.is_file() and not path.is_symlink():
                os.link(path, new)
            case "chmod" if path.exists() and not path.is_symlink():
                path.chmod(0o711)
            case _:
                new.write_text("new")
    settle(root)


def settle(root: Path) -> None:
    """Cut all times to whole seconds, as a layer does."""
    for name in ["", *read(root)]:
        status = os.lstat(root / name)
        second = status.st_mtime_ns // 10**9 * 10**9
        if second != status.st_mtime_ns:
            os.utime(root / name, ns=(second, second), follow_symlinks=False)


@settings(max_examples=20, deadline=None)
@given(tree=trees(), seed=st.integers(0, 2**32))
def test_a_layer_does_elsewhere_what_was_done_here(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, File], seed: int
) -> None:
    base = tmp_path_factory.mktemp("overlay")
    lower, plain = base / "lower", base / "plain"
    lower.mkdir()
    plain.mkdir()
    make(lower, tree)
    make(plain, tree)

    merged = in_overlay(base, [lower], lambda root: mutate(root, seed))
    archive = layer_of(base / "upper", lower)
    applied(plain, archive)

    assert comparable(read(plain), merged, archive) == comparable(merged, merged, archive)
    again = base / "again"
    again.mkdir()
    fd = os.open(again, os.O_RDONLY)
    apply_layer(BytesSource(archive), fd)
    os.close(fd)
    assert layer_of(again, lower) == archive


def comparable(
    tree: dict[str, File], merged: dict[str, File], archive: bytes
) -> dict[str, tuple[object, ...]]:
    """Leave out the times of directories that the layer does not tell: nothing else changed."""
    with tarfile.open(fileobj=io.BytesIO(archive), errors="surrogateescape") as tar:
        told = set(tar.getnames())
    return {
        name: (*file[:5], file.xattrs, file.mtime_ns if told_time(name, merged, told) else 0)
        for name, file in tree.items()
    }


def told_time(name: str, merged: dict[str, File], told: set[str]) -> bool:
    return name in told or merged[name].kind != "dir"


def test_a_replaced_directory_hides_the_old_one_layer_by_layer(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    make(lower, {"d": File("dir", mode=0o755), "d/old": File(), "d/both": File(content=b"1")})

    def change(root: Path) -> None:
        shutil.rmtree(root / "d")
        (root / "d").mkdir()
        (root / "d/both").write_bytes(b"2")

    in_overlay(tmp_path, [lower], change)
    archive = layer_of(tmp_path / "upper", lower)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        names = tar.getnames()
    second = tmp_path / "second"
    second.mkdir()
    fd = os.open(second, os.O_RDONLY)
    apply_layer(BytesSource(archive), fd)
    os.close(fd)
    other = tmp_path / "other"
    other.mkdir()

    merged = in_overlay(other, [second, lower], lambda _root: None)

    assert names == ["d", "d/both", "d/.wh.old"]
    assert sorted(merged) == ["d", "d/both"]


def test_nothing_done_is_nothing_told(tmp_path: Path) -> None:
    lower = tmp_path / "lower"
    lower.mkdir()
    make(lower, {"d": File("dir"), "d/f": File(content=b"x"), "l": File("link", b"d")})

    def touch(root: Path) -> None:
        status = (root / "d/f").stat()
        (root / "d/f").write_bytes(b"x")
        os.utime(root / "d/f", ns=(status.st_atime_ns, status.st_mtime_ns))
        (root / "gone").write_text("")
        (root / "gone").unlink()

    in_overlay(tmp_path, [lower], touch)

    assert layer_of(tmp_path / "upper", lower) == bytes(1024)
