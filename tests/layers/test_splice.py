import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from builder.errors import InvalidImage
from builder.layers.layer import write_layer
from builder.layers.members import Members, parse_members
from builder.layers.splice import Earlier, can_splice, write_spliced
from builder.layers.tar import Entry
from builder.oci.digest import Digest
from tests.layers.files import File, Tree, make, trees

pytestmark = pytest.mark.root


def layer(directory: Path, blob: Path) -> tuple[bytes, Members, Digest]:
    """Write a tree as a layer."""
    members = Members()
    fd = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    written = write_layer(str(directory), [], fd, members=members)
    os.close(fd)
    return blob.read_bytes(), members, written.digest


def spliced(patch: Path, old: Path, members: Members, digest: Digest) -> tuple[bytes, Members]:
    fd, out = os.open(old, os.O_RDONLY), os.memfd_create("out")
    try:
        _, listed = write_spliced(
            str(patch), Earlier(members, fd, digest), out,
            compression="gzip", level=None, userxattr=False,
        )  # fmt: skip
        return os.pread(out, 1 << 28, 0), listed
    finally:
        os.close(fd)
        os.close(out)


def make_patch(root: Path, old: Tree, new: Tree) -> None:
    """Lay down in overlay's format what makes one tree of another."""
    changed = {path for path, file in new.items() if old.get(path) != file}
    gone = {path for path in old if path not in new}
    needed = {
        "/".join(path.split("/")[:end])
        for path in changed | gone
        for end in range(1, path.count("/") + 1)
    }
    make(root, {path: file for path, file in new.items() if path in changed | needed})
    for path in gone:
        if path.rpartition("/")[0] not in gone:
            times = (root / path).parent.stat().st_mtime_ns
            os.mknod(root / path, stat.S_IFCHR, os.makedev(0, 0))
            os.utime((root / path).parent, ns=(times, times))


@given(trees(), trees(), st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_spliced_layer_is_that_of_the_corrected_tree(
    tmp_path_factory: pytest.TempPathFactory, old: Tree, other: Tree, data: st.DataObject
) -> None:
    base = tmp_path_factory.mktemp("splice")
    kept = {
        path: file
        for path, file in old.items()
        if path in other or data.draw(st.booleans(), label=path)
    }
    new = {**kept, **other}
    new = {path: file for path, file in new.items() if _has_directory(path, new)}
    new = dict(sorted(new.items(), key=lambda pair: pair[0].count("/")))
    assume(all(new[path].kind == old[path].kind for path in new if path in old))
    for name, tree in (("old", old), ("new", new)):
        (base / name).mkdir()
        make(base / name, tree)
    (base / "patch").mkdir()
    make_patch(base / "patch", old, new)
    _, members, digest = layer(base / "old", base / "old.gz")
    expected, expected_members, _ = layer(base / "new", base / "new.gz")

    assert can_splice(str(base / "patch"), [], members, userxattr=False)
    found, listed = spliced(base / "patch", base / "old.gz", members, digest)

    assert found == expected
    assert (listed.names, listed.blocks) == (expected_members.names, expected_members.blocks)


def _has_directory(path: str, tree: Tree) -> bool:
    parent = path.rpartition("/")[0]
    while parent:
        if parent not in tree or tree[parent].kind != "dir":
            return False
        parent = parent.rpartition("/")[0]
    return True


def test_a_layer_of_many_pieces_is_spliced(tmp_path: Path) -> None:
    big = File(content=os.urandom(3 << 20))
    old = {"a": big, "d": File("dir"), **{f"d/{n}": File(content=b"%d" % n) for n in range(3000)}}
    new = {**old, "d/1500": File(content=b"x" * 10_000), "z": big}
    del new["d/7"]
    for name, tree in (("old", old), ("new", new)):
        (tmp_path / name).mkdir()
        make(tmp_path / name, tree)
    (tmp_path / "patch").mkdir()
    make_patch(tmp_path / "patch", old, new)
    _, members, digest = layer(tmp_path / "old", tmp_path / "old.gz")

    found, _ = spliced(tmp_path / "patch", tmp_path / "old.gz", members, digest)

    assert found == layer(tmp_path / "new", tmp_path / "new.gz")[0]


def _linked(patch: Path, base: Path) -> None:
    make(patch, {"one": File()})
    os.link(patch / "one", patch / "two")
    del base


def _in_the_base(patch: Path, base: Path) -> None:
    make(patch, {"file": File()})
    make(base, {"file": File(content=b"other")})


def _deleting_what_is_not_there(patch: Path, base: Path) -> None:
    os.mknod(patch / "unknown", stat.S_IFCHR, os.makedev(0, 0))
    del base


@pytest.mark.parametrize("fill", [_linked, _in_the_base, _deleting_what_is_not_there])
def test_what_the_base_must_be_asked_for_is_not_spliced(
    tmp_path: Path, fill: Callable[[Path, Path], None]
) -> None:
    patch, base = tmp_path / "patch", tmp_path / "base"
    patch.mkdir()
    base.mkdir()
    fill(patch, base)

    assert not can_splice(str(patch), [str(base)], Members(), userxattr=False)


@pytest.mark.parametrize("damage", ["content", "end"])
def test_a_damaged_layer_is_told(tmp_path: Path, damage: str) -> None:
    for name in ("old", "patch"):
        (tmp_path / name).mkdir()
    make(tmp_path / "old", {"a": File(content=os.urandom(5000)), "b": File()})
    make(tmp_path / "patch", {"b": File(content=b"new")})
    packed, members, digest = layer(tmp_path / "old", tmp_path / "old.gz")
    middle = len(packed) // 2
    flipped = packed[:middle] + bytes([packed[middle] ^ 1]) + packed[middle + 1 :]
    (tmp_path / "old.gz").write_bytes(flipped if damage == "content" else packed[:middle])

    with pytest.raises(InvalidImage):
        spliced(tmp_path / "patch", tmp_path / "old.gz", members, digest)


def test_members_are_read_as_they_were_written() -> None:
    members = Members()
    for name, size_bytes in (("a", 512), ("a/é\udce4", 1024), ("b", 1 << 33)):
        members.add(Entry(name), size_bytes)

    read = parse_members(members.packed())

    assert read is not None
    assert (read.names, read.blocks) == (members.names, members.blocks)
    assert parse_members(Members().packed()) is not None


@pytest.mark.parametrize("content", [b"", b"x", b"-1\n", b"5\nab", b"1\na123", b"1\na12345"])
def test_a_damaged_list_of_members_counts_as_none(content: bytes) -> None:
    assert parse_members(content) is None


@pytest.mark.parametrize(
    "entry", [Entry("a/.wh.b"), Entry(".wh..wh..opq"), Entry("x", "hardlink", link_name="y")]
)
def test_a_layer_with_deletions_or_links_has_no_list(entry: Entry) -> None:
    members = Members()
    members.add(entry, 512)

    assert parse_members(members.packed()) is None
