import gzip
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from builder.errors import InvalidImage
from builder.layers.blocks import Blocks
from builder.layers.layer import write_layer
from builder.layers.members import Listed, Members, parse_members
from builder.layers.splice import Earlier, can_splice, write_spliced
from builder.layers.tar import BUFFER_BYTES, Entry
from builder.oci.digest import Digest
from builder.oci.media import Compression
from tests.layers.files import File, Tree, make, trees

pytestmark = pytest.mark.root


def layer(directory: Path, blob: Path) -> tuple[bytes, Listed, Digest]:
    """Write a tree as a layer."""
    members = Members()
    fd = os.open(blob, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    written = write_layer(str(directory), [], fd, members=members)
    os.close(fd)
    return blob.read_bytes(), listed(members), written.digest


def listed(members: Members) -> Listed:
    read = parse_members(members.packed())
    assert read is not None
    return read


def everything(members: Listed) -> tuple[object, ...]:
    return members.names, members.blocks, members.index


def spliced(patch: Path, old: Path, members: Listed, digest: Digest) -> tuple[bytes, Listed]:
    fd, out = os.open(old, os.O_RDONLY), os.memfd_create("out")
    try:
        _, noted = write_spliced(
            str(patch), Earlier(members, fd, digest), out,
            compression="gzip", level=None, userxattr=False,
        )  # fmt: skip
        return os.pread(out, 1 << 28, 0), listed(noted)
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
    site = Site.of(base, old, new)

    assert can_splice(str(base / "patch"), [], site.members, userxattr=False)
    found, found_members = site.spliced()

    assert found == site.expected
    assert everything(found_members) == everything(site.expected_members)


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
    site = Site.of(tmp_path, old, new)

    found, _ = site.spliced()

    assert found == site.expected


class Site(NamedTuple):
    """An earlier tree with its layer, a corrected one with the layer of a walk, and the patch."""

    root: Path
    members: Listed
    digest: Digest
    expected: bytes
    expected_members: Listed

    @classmethod
    def of(cls, root: Path, old: Tree, new: Tree) -> Self:
        for name, tree in (("old", old), ("new", new)):
            (root / name).mkdir()
            make(root / name, tree)
        (root / "patch").mkdir()
        make_patch(root / "patch", old, new)
        _, members, digest = layer(root / "old", root / "old.gz")
        expected, expected_members, _ = layer(root / "new", root / "new.gz")
        return cls(root, members, digest, expected, expected_members)

    def spliced(self, members: Listed | None = None) -> tuple[bytes, Listed]:
        """Splice, with another index maybe."""
        return spliced(
            self.root / "patch", self.root / "old.gz", members or self.members, self.digest
        )

    def indexed(self, index: Blocks | None) -> Listed:
        return Listed(self.members.names, self.members.blocks, index)


def several_blocks() -> dict[str, File]:
    """Make a tree whose archive has six blocks of a compressor."""
    text = b"".join(b"%x\n" % (number * 2_654_435_761) for number in range(300))
    tree = {}
    for directory in range(8):
        tree[f"d{directory}"] = File("dir")
        for number in range(100):
            content = b"%d %d\n" % (directory, number) + text
            tree[f"d{directory}/f{number:02}"] = File(content=content)
    return tree


def _keep(tree: dict[str, File], path: str) -> None:
    tree[path] = File(content=tree[path].content[::-1])


def _keep_mode(tree: dict[str, File], path: str) -> None:
    tree[path] = File(content=tree[path].content, mode=0o600)


def _grow(tree: dict[str, File], path: str) -> None:
    tree[path] = File(content=tree[path].content * 3)


def _grow_by_a_block(tree: dict[str, File], path: str) -> None:
    tree[path] = File(content=bytes(BUFFER_BYTES) + tree[path].content)


def _shrink(tree: dict[str, File], path: str) -> None:
    tree[path] = File(content=b"")


def _add(tree: dict[str, File], path: str) -> None:
    tree[f"{path} too"] = tree[path]


def _delete(tree: dict[str, File], path: str) -> None:
    del tree[path]


def _delete_directory(tree: dict[str, File], path: str) -> None:
    directory = path.partition("/")[0]
    for name in list(tree):
        if name.partition("/")[0] == directory:
            del tree[name]


def _add_directory(tree: dict[str, File], path: str) -> None:
    directory = path.partition("/")[0] + "+"
    tree[directory] = File("dir")
    tree[f"{directory}/f"] = tree[path]


def _shift_and_back(tree: dict[str, File], path: str) -> None:
    directory = path.partition("/")[0]
    _grow(tree, path)
    kept = tree[f"{directory}/f05"].content
    tree[f"{directory}/f05"] = File(content=kept + bytes(512))
    tree[f"{directory}/f95"] = File(content=tree[f"{directory}/f95"].content[512:])
    _delete(tree, f"{directory}/f50")
    _add(tree, f"{directory}/f51")


EDITS = [
    _keep, _keep_mode, _grow, _grow_by_a_block, _shrink, _add, _delete, _delete_directory,
    _add_directory, _shift_and_back,
]  # fmt: skip


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("path", ["d0/f00", "d4/f49", "d7/f99"])
def test_an_edit_anywhere_gives_the_layer_of_a_walk(
    tmp_path: Path, edit: Callable[[dict[str, File], str], None], path: str
) -> None:
    old = several_blocks()
    new = dict(old)
    edit(new, path)
    new = dict(sorted(new.items(), key=lambda pair: pair[0].count("/")))
    site = Site.of(tmp_path, old, new)

    found, members = site.spliced()

    assert found == site.expected
    assert everything(members) == everything(site.expected_members)
    (tmp_path / "found.gz").write_bytes(found)
    subprocess.run(["gzip", "-t", tmp_path / "found.gz"], check=True)


@given(st.data())
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_several_edits_one_after_another_give_the_layer_of_a_walk(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    old = several_blocks()
    new = dict(old)
    single = [_keep, _keep_mode, _grow, _grow_by_a_block, _shrink, _add, _delete]
    paths = st.sampled_from([path for path in old if "/" in path])
    for path in data.draw(st.lists(paths, max_size=6, unique=True), label="paths"):
        data.draw(st.sampled_from(single), label=path)(new, path)
    site = Site.of(tmp_path_factory.mktemp("edits"), old, new)

    found, members = site.spliced()

    assert found == site.expected
    assert everything(members) == everything(site.expected_members)


@pytest.fixture
def edited(tmp_path: Path) -> Site:
    old = several_blocks()
    new = dict(old)
    _keep(new, "d4/f49")
    return Site.of(tmp_path, old, new)


def _in_other_order(index: Blocks) -> Blocks:
    return index._replace(sizes=index.sizes[::-1])


def _shifted(index: Blocks) -> Blocks:
    first, second, *rest = index.sizes
    return index._replace(sizes=(first - 5, second + 5, *rest))


def _short(index: Blocks) -> Blocks:
    return index._replace(sizes=index.sizes[:-1])


def _long(index: Blocks) -> Blocks:
    return index._replace(sizes=(*index.sizes, 5))


def _none(index: Blocks) -> Blocks:
    return index._replace(sizes=())


@pytest.mark.parametrize("lie", [_in_other_order, _shifted, _short, _long, _none])
def test_an_index_that_lies_is_noticed(edited: Site, lie: Callable[[Blocks], Blocks]) -> None:
    index = edited.members.index
    assert index is not None

    with pytest.raises(InvalidImage):
        edited.spliced(edited.indexed(lie(index)))


@pytest.mark.parametrize("other", [None, Blocks("gzip/0", "", ()), Blocks("", "sha256:0", ())])
def test_an_index_that_does_not_apply_is_not_used(edited: Site, other: Blocks | None) -> None:
    index = edited.members.index
    assert index is not None
    if other is not None:
        other = Blocks(other.form or index.form, other.digest or index.digest, other.sizes)

    found, members = edited.spliced(edited.indexed(other))

    assert found == edited.expected
    assert members.index == edited.expected_members.index


def test_blocks_are_copied_where_nothing_changed(tmp_path: Path) -> None:
    old = several_blocks()
    new = dict(old)
    _keep(new, "d4/f49")
    site = Site.of(tmp_path, old, new)
    out = os.open(tmp_path / "old.gz", os.O_RDWR | os.O_TRUNC)
    members = Members()
    written = write_layer(str(tmp_path / "old"), [], out, level=0, members=members)
    os.close(out)
    other = listed(members).index
    assert other is not None
    assert site.members.index is not None
    told = site.indexed(other._replace(form=site.members.index.form))  # as if it were of our level

    found, _ = spliced(tmp_path / "patch", tmp_path / "old.gz", told, written.digest)

    earlier = (tmp_path / "old.gz").read_bytes()
    first, last = sum(other.sizes[:2]), sum(other.sizes[-2:])
    assert found[:first] == earlier[:first]
    assert found[-last:-8] == earlier[-last:-8]
    assert gzip.decompress(found) == gzip.decompress(site.expected)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_other_compressions_are_spliced_as_well(
    edited: Site, compression: Compression, tmp_path: Path
) -> None:
    fd, out = os.open(tmp_path / "old.gz", os.O_RDONLY), os.memfd_create("out")
    walked = os.memfd_create("walked")
    blob, noted = write_spliced(
        str(tmp_path / "patch"), Earlier(edited.members, fd, edited.digest), out,
        compression=compression, level=None, userxattr=False,
    )  # fmt: skip

    assert blob == write_layer(str(tmp_path / "new"), [], walked, compression=compression)
    assert noted.index is None
    for each in (fd, out, walked):
        os.close(each)


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

    assert not can_splice(str(patch), [str(base)], listed(Members()), userxattr=False)


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

    read = listed(members)

    assert read.names == b"a\0a/\xc3\xa9\xe4\0b\0"
    assert list(read.blocks) == [1, 2, 1 << 24]
    assert listed(Members()).names == b""


@given(st.data())
def test_a_list_of_members_with_any_bit_changed_counts_as_none(data: st.DataObject) -> None:
    members = Members()
    for name in ("a", "a/b", "c"):
        members.add(Entry(name), 512)
    packed = bytearray(members.packed())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    assert parse_members(bytes(packed)) is None


@given(st.binary(max_size=60))
def test_what_is_no_list_of_members_counts_as_none(content: bytes) -> None:
    assert parse_members(content) is None


@given(st.lists(st.text("a./é\udc80", min_size=1), unique=True), st.text("a./é\udc80", min_size=1))
def test_a_member_is_found_where_it_is_or_would_be(names: list[str], wanted: str) -> None:
    members = Members()
    order = sorted(names, key=lambda name: os.fsencode(name).split(b"/"))
    for name in order:
        members.add(Entry(name), 512)
    read = listed(members)

    at, is_there = read.position(wanted)

    key = os.fsencode(wanted).split(b"/")
    before = [name for name in order if os.fsencode(name).split(b"/") < key]
    assert at == sum(len(os.fsencode(name)) + 1 for name in before)
    assert is_there == (wanted in names)
    if is_there:
        below = [name for name in order if name == wanted or name.startswith(f"{wanted}/")]
        assert read.end(at) == at + sum(len(os.fsencode(name)) + 1 for name in below)
        assert read.next(at) == at + len(os.fsencode(wanted)) + 1


@pytest.mark.parametrize(
    "entry", [Entry("a/.wh.b"), Entry(".wh..wh..opq"), Entry("x", "hardlink", link_name="y")]
)
def test_a_layer_with_deletions_or_links_has_no_list(entry: Entry) -> None:
    members = Members()
    members.add(entry, 512)

    assert parse_members(members.packed()) is None
