import gzip
import io
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import InvalidImage
from builder.layers.apply import AppliedLayer, apply_layer, inherit_directories
from builder.layers.extract import extract_archive
from builder.layers.stream import BytesSource
from builder.layers.tar import Entry, Kind
from builder.layers.tarwriter import Writer
from builder.oci.digest import digest_of
from tests.layers.files import File, make, read

Member = Entry | tuple[Entry, bytes]


class Target:
    """A directory to unpack into, in another that nothing may touch."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.root = base / "root"
        self.root.mkdir()
        (base / "canary").write_text("secret")
        self.fd = os.open(self.root, os.O_RDONLY)

    def apply(
        self, *members: Member, userxattr: bool = False, can_mknod: bool = True
    ) -> AppliedLayer:
        source = BytesSource(packed(*members))
        return apply_layer(source, self.fd, userxattr=userxattr, can_mknod=can_mknod)

    def names(self) -> list[str]:
        return list(read(self.root))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    target = Target(tmp_path)
    yield target
    os.close(target.fd)
    assert sorted(os.listdir(tmp_path)) == ["canary", "root"]
    assert (tmp_path / "canary").read_text() == "secret"
    assert (tmp_path / "canary").stat().st_nlink == 1


def packed(*members: Member) -> bytes:
    out = io.BytesIO()
    writer = Writer(out.write)
    for member in members:
        entry, content = (member, b"") if isinstance(member, Entry) else member
        writer.add(entry._replace(size_bytes=len(content)), content)
    writer.close()
    return out.getvalue()


def directory(name: str, mode_bits: int = 0o755) -> Entry:
    return Entry(name, "directory", mode_bits)


def link(name: str, to: str, kind: Kind = "symlink") -> Entry:
    return Entry(name, kind, link_name=to)


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def test_a_layer_is_named_on_both_sides(target: Target) -> None:
    tar = packed((Entry("f"), b"x"))
    blob = gzip.compress(tar)

    applied = apply_layer(
        BytesSource(blob),
        target.fd,
        expected_digest=digest_of(blob),
        expected_diff_id=digest_of(tar),
    )

    assert applied == AppliedLayer(digest_of(blob), len(blob), digest_of(tar), len(tar), ("",))


def test_what_follows_the_end_counts_for_the_digests(target: Target) -> None:
    tar = packed(Entry("f")) + bytes(9000)

    applied = apply_layer(BytesSource(tar), target.fd)

    assert applied.diff_id == digest_of(tar)


def test_a_wrong_digest_is_an_error(target: Target) -> None:
    blob = gzip.compress(packed(Entry("f")))

    with pytest.raises(InvalidImage, match="the layer should be"):
        apply_layer(BytesSource(blob), target.fd, expected_digest=digest_of(b""))
    with pytest.raises(InvalidImage, match="the unpacked layer should be"):
        apply_layer(BytesSource(blob), target.fd, expected_diff_id=digest_of(b""))


def test_a_large_layer_is_unpacked(target: Target) -> None:
    content = os.urandom(3 << 20) + bytes(5 << 20)

    applied = apply_layer(BytesSource(gzip.compress(packed((Entry("big"), content)))), target.fd)

    assert (target.root / "big").read_bytes() == content
    assert applied.size_bytes > len(content)


def test_a_damaged_large_layer_is_an_error(target: Target) -> None:
    blob = gzip.compress(packed((Entry("big"), os.urandom(6 << 20))))

    with pytest.raises(InvalidImage, match="cut off"):
        apply_layer(BytesSource(blob[:-2_000_000]), target.fd)


def test_parents_without_an_entry_are_made_and_reported(target: Target) -> None:
    applied = target.apply((Entry("a/b/c"), b""), directory("a", 0o700))

    assert applied.implied == ("", "a/b")
    assert stat.S_IMODE((target.root / "a/b").stat().st_mode) == 0o755
    assert stat.S_IMODE((target.root / "a").stat().st_mode) == 0o700


@pytest.mark.usefixtures("target")
def test_implied_directories_take_after_the_lower_ones(tmp_path: Path) -> None:
    lower = tmp_path / "root/lower"
    lower.mkdir()
    make(lower, {"a": File("dir", mode=0o1777, mtime_ns=5), "b": File("link", b"a")})
    upper = tmp_path / "root/upper"
    upper.mkdir()
    fd = os.open(upper, os.O_RDONLY)
    applied = apply_layer(BytesSource(packed(Entry("a/f"), Entry("b/f"))), fd)

    inherit_directories(fd, applied.implied, [str(lower)])

    os.close(fd)
    assert (stat.S_IMODE((upper / "a").stat().st_mode), (upper / "a").stat().st_mtime) == (
        0o1777,
        5e-9,
    )
    assert stat.S_IMODE((upper / "b").stat().st_mode) == 0o755


def test_attributes_come_last_and_times_are_kept(target: Target) -> None:
    target.apply(
        Entry("d", "directory", 0o500, mtime_ns=10**9),
        (Entry("d/f", "file", 0o4755, mtime_ns=2 * 10**9), b"x"),
        Entry("d/l", "symlink", link_name="f", mtime_ns=3 * 10**9),
    )

    found = read(target.root)
    assert [(name, file.mode, file.mtime_ns) for name, file in found.items()] == [
        ("d", 0o500, 10**9),
        ("d/f", 0o4755, 2 * 10**9),
        ("d/l", 0o777, 3 * 10**9),
    ]


def test_the_last_of_equal_names_stays(target: Target) -> None:
    target.apply(
        (Entry("x"), b"1"),
        directory("x"),
        (Entry("x/y"), b"2"),
        link("x", "canary"),
        (Entry("z"), b"3"),
        (Entry("z"), b"4"),
    )

    found = read(target.root)
    assert {name: file.kind for name, file in found.items()} == {"x": "link", "z": "file"}
    assert found["z"].content == b"4"


@pytest.mark.root
def test_only_portable_attributes_are_set(target: Target) -> None:
    names = ["trusted.overlay.opaque", "user.overlay.redirect", "user.builder.owner", "user.good"]
    attributes = tuple((name, b"y") for name in names)

    target.apply(Entry("f", xattrs=attributes), Entry("d", "directory", xattrs=attributes))

    assert [file.xattrs for file in read(target.root).values()] == [(("user.good", b"y"),)] * 2


def test_links_are_kept_as_they_are(target: Target) -> None:
    target.apply(link("l", "../../../canary"), link("m", "/etc/passwd"))

    assert [file.content for file in read(target.root).values()] == [
        b"../../../canary",
        b"/etc/passwd",
    ]


def test_hard_links_share_a_file(target: Target) -> None:
    target.apply((Entry("a", mode_bits=0o755), b"x"), link("b", "/a", "hardlink"))

    assert (target.root / "a").stat().st_nlink == 2
    assert stat.S_IMODE((target.root / "b").stat().st_mode) == 0o755


def test_a_hard_link_to_itself_changes_nothing(target: Target) -> None:
    target.apply((Entry("a"), b"x"), link("a", "./a", "hardlink"))

    assert (target.root / "a").read_bytes() == b"x"


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "..", "a/..", "/../x", "./../x", "", ".", "/"]
)
def test_names_that_go_up_or_nowhere_are_refused(target: Target, name: str) -> None:
    with pytest.raises(InvalidImage):
        target.apply((Entry(name), b"pwned"))


@pytest.mark.parametrize("name", ["/abs", "//abs", "./abs", "a//./b"])
def test_unusual_names_land_inside(target: Target, name: str) -> None:
    target.apply((Entry(name), b"x"))

    assert len(target.names()) == 1 + name.count("b", 4)


@pytest.mark.parametrize("to", ["..", "../..", "/", "../../../../../..", "{base}", "loop/x"])
def test_writing_through_a_link_stays_inside(target: Target, to: str) -> None:
    text = to.format(base=target.base)

    target.apply(link("l", text), (Entry("l/canary"), b"pwned"))

    assert "pwned" in [f.content.decode() for f in read(target.root).values()]


def test_a_chain_of_links_stays_inside(target: Target) -> None:
    members: list[Member] = [directory("d")]
    members += [link(f"d/{i}", "/".join(["d" * 250] * 15) + "/.." * 15) for i in range(3)]
    members += [link("x", "d/0/../../../.."), (Entry("x/canary"), b"pwned")]

    target.apply(*members)


def test_a_loop_of_links_is_an_error(target: Target) -> None:
    with pytest.raises(Exception, match="Too many levels"):
        target.apply(link("a", "b"), link("b", "a"), (Entry("a/x"), b""))


@pytest.mark.parametrize("to", ["../canary", "/canary", "l", "d", "absent", "l/../../canary", ""])
def test_hard_links_lead_to_files_of_the_layer_only(target: Target, to: str) -> None:
    with pytest.raises(InvalidImage):
        target.apply(link("l", "../canary"), directory("d"), link("h", to, "hardlink"))


def test_a_parent_that_is_a_file_is_an_error(target: Target) -> None:
    with pytest.raises(InvalidImage, match="no directory"):
        target.apply((Entry("f"), b""), (Entry("f/x"), b""))


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", ".wh.x/y"])
def test_whiteouts_with_impossible_names_are_refused(target: Target, name: str) -> None:
    with pytest.raises(InvalidImage):
        target.apply(Entry(name))


def test_overlayfs_marks_in_a_layer_are_refused(target: Target) -> None:
    with pytest.raises(InvalidImage, match="overlayfs"):
        target.apply(Entry("bin/id", "char", device=(0, 0)))


def test_devices_that_could_harm_are_skipped(target: Target) -> None:
    applied = target.apply(
        Entry("disk", "block", device=(254, 0)), Entry("mem", "char", device=(1, 1))
    )

    assert applied.skipped == ("disk", "mem")
    assert target.names() == []


def test_without_the_right_to_make_devices_all_are_skipped(target: Target) -> None:
    applied = target.apply(Entry("null", "char", device=(1, 3)), can_mknod=False)

    assert applied.skipped == ("null",)


def test_a_deep_tree_is_unpacked(target: Target) -> None:
    members = [directory("/".join(["d"] * depth)) for depth in range(1, 1100)]

    applied = target.apply(*members, (Entry("/".join(["d"] * 1099) + "/f"), b"x"))

    assert applied.implied == ("",)
    target.apply(Entry("d"))  # replaces the whole tree
    assert target.names() == ["d"]


def test_many_directories_need_few_descriptors(target: Target) -> None:
    members = [(Entry(f"d{i}/f"), b"") for i in range(300)]
    before = len(os.listdir("/proc/self/fd"))

    target.apply(*members)

    assert len(os.listdir("/proc/self/fd")) == before
    assert len(target.names()) == 600


@pytest.mark.root
class TestMarks:
    def test_whiteouts_become_devices(self, target: Target) -> None:
        target.apply(directory("d"), Entry("d/.wh.gone"), Entry("implied/.wh.gone"))

        assert is_whiteout(target.root / "d/gone")
        assert is_whiteout(target.root / "implied/gone")

    @pytest.mark.parametrize("first", [True, False])
    def test_a_whiteout_never_deletes_what_its_own_layer_has(
        self, target: Target, *, first: bool
    ) -> None:
        entries: list[Member] = [(Entry("f"), b"x"), directory("d")]
        marks: list[Member] = [Entry(".wh.f"), Entry(".wh.d")]

        target.apply(*(marks + entries if first else entries + marks))

        assert (target.root / "f").read_bytes() == b"x"
        assert os.getxattr(target.root / "d", "trusted.overlay.opaque") == b"y"

    def test_an_opaque_marker_marks_its_directory(self, target: Target) -> None:
        target.apply(Entry("d/.wh..wh..opq"), (Entry("d/f"), b"x"))

        assert os.getxattr(target.root / "d", "trusted.overlay.opaque") == b"y"
        assert (target.root / "d/f").exists()

    def test_an_opaque_root_hides_by_whiteouts(self, target: Target) -> None:
        applied = target.apply(Entry(".wh..wh..opq"), (Entry("kept"), b"x"))
        lower = target.root.parent / "root/lower"
        upper = target.root
        lower.mkdir()
        make(lower, {"gone": File(), "kept": File(content=b"old")})

        inherit_directories(target.fd, applied.implied, [str(lower)])

        assert is_whiteout(upper / "gone")
        assert (upper / "kept").read_bytes() == b"x"

    def test_a_rootless_opaque_marker_is_a_user_attribute(self, target: Target) -> None:
        target.apply(directory("d"), Entry("d/.wh..wh..opq"), userxattr=True)

        assert os.getxattr(target.root / "d", "user.overlay.opaque") == b"y"

    def test_whiteouts_through_links_stay_inside(self, target: Target) -> None:
        target.apply(link("l", "../.."), Entry("l/.wh.canary"), Entry("l/.wh..wh..opq"))

        assert is_whiteout(target.root / "canary")

    def test_markers_of_aufs_mean_nothing(self, target: Target) -> None:
        target.apply(Entry(".wh..wh.aufs"), directory(".wh..wh.plnk"), Entry(".wh..wh.plnk/1.2"))

        assert target.names() == []

    def test_owners_are_kept(self, target: Target) -> None:
        target.apply(
            Entry("d", "directory", uid=5, gid=6),
            (Entry("d/f", "file", 0o6755, uid=7, gid=70_000), b"x"),
            Entry("l", "symlink", link_name="x", uid=8, gid=9),
        )

        found = read(target.root)
        assert [(f.uid, f.gid, f.mode) for f in found.values()] == [
            (5, 6, 0o644),
            (7, 70_000, 0o6755),
            (8, 9, 0o777),
        ]

    def test_harmless_devices_are_made(self, target: Target) -> None:
        target.apply(Entry("null", "char", 0o666, device=(1, 3)))

        status = (target.root / "null").stat()
        assert (status.st_rdev, stat.S_IMODE(status.st_mode)) == (os.makedev(1, 3), 0o666)


class TestExtract:
    def test_members_replace_files_and_merge_directories(self, target: Target) -> None:
        make(target.root, {"d": File("dir"), "d/old": File(), "f": File("dir"), "f/x": File()})

        entries = extract_archive(
            BytesSource(packed(directory("d", 0o700), (Entry("d/new"), b""), (Entry("f"), b"1"))),
            target.fd,
        )

        assert entries == 3
        assert target.names() == ["d", "d/new", "d/old", "f"]

    def test_a_link_that_is_there_is_followed_inside_only(self, target: Target) -> None:
        make(target.root, {"l": File("link", b"../..")})

        extract_archive(BytesSource(packed((Entry("l/canary"), b"pwned"))), target.fd)

        assert (target.root / "canary").read_bytes() == b"pwned"

    def test_whiteout_names_are_names(self, target: Target) -> None:
        extract_archive(BytesSource(packed(Entry(".wh.x"))), target.fd)

        assert target.names() == [".wh.x"]

    def test_the_root_itself_keeps_its_attributes(self, target: Target) -> None:
        target.root.chmod(0o750)

        extract_archive(BytesSource(packed(directory(".", 0o777))), target.fd)

        assert stat.S_IMODE(target.root.stat().st_mode) == 0o750

    @pytest.mark.root
    def test_an_owner_given_is_everyones(self, target: Target) -> None:
        tar = packed(Entry("a/f", uid=1, gid=2), link("l", "x"), Entry("d", "directory", uid=3))

        extract_archive(BytesSource(tar), target.fd, owner=(9, 8))

        assert {(f.uid, f.gid) for f in read(target.root).values()} == {(9, 8)}


def test_an_archive_of_gnu_tar_is_applied(target: Target, tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        info = tarfile.TarInfo("./" + "n" * 150)
        tar.addfile(info)

    apply_layer(BytesSource(out.getvalue()), target.fd)

    assert target.names() == ["n" * 150]
    assert (tmp_path / "root").is_dir()
