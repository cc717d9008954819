import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from builder.errors import InvalidImage
from builder.kernel.trees import remove_tree
from builder.layers.apply import apply_layer
from builder.layers.diff import changes
from builder.layers.layer import write_changes, write_layer
from builder.layers.stream import BytesSource
from builder.layers.tar import Entry
from tests.layers.files import File, Tree, make, read, trees


def told(upper: Path, *lowers: Path, userxattr: bool = False) -> list[Entry]:
    found = changes(str(upper), [str(lower) for lower in lowers], userxattr=userxattr)
    return [change.entry for change in found]


def names(upper: Path, *lowers: Path) -> list[str]:
    return [entry.name for entry in told(upper, *lowers)]


def layer_bytes(upper: Path, *lowers: Path) -> bytes:
    out = io.BytesIO()
    write_changes(changes(str(upper), [str(lower) for lower in lowers], userxattr=False), out.write)
    return out.getvalue()


def directory(base: Path, name: str, tree: Tree | None = None) -> Path:
    path = base / name
    path.mkdir()
    make(path, tree or {})
    return path


def remove(path: Path) -> None:
    fd = os.open(path.parent, os.O_RDONLY)
    remove_tree(fd, path.name)
    os.close(fd)


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))


def opaque(path: Path) -> None:
    os.setxattr(path, "trusted.overlay.opaque", b"y")


def test_entries_come_in_order_and_directories_before_what_is_in_them(tmp_path: Path) -> None:
    tree = dict.fromkeys(["a-b", "a.txt", "ä", "Z"], File())
    upper = directory(tmp_path, "upper", {"a": File("dir"), "a/b": File(), **tree})

    assert names(upper) == ["Z", "a", "a/b", "a-b", "a.txt", "ä"]


def test_a_directory_that_only_leads_to_a_change_is_told_and_one_without_is_not(
    tmp_path: Path,
) -> None:
    same = {"usr": File("dir", mode=0o755), "usr/lib": File("dir", mode=0o755)}
    lower = directory(tmp_path, "lower", {**same, "etc": File("dir", mode=0o755)})
    upper = directory(
        tmp_path, "upper", {**same, "usr/lib/x": File(), "etc": File("dir", mode=0o755)}
    )

    assert names(upper, lower) == ["usr", "usr/lib", "usr/lib/x"]


def test_a_directory_whose_mode_changed_is_told(tmp_path: Path) -> None:
    lower = directory(tmp_path, "lower", {"tmp": File("dir", mode=0o755)})
    upper = directory(tmp_path, "upper", {"tmp": File("dir", mode=0o1777, mtime_ns=5)})

    (entry,) = told(upper, lower)

    assert (entry.name, entry.mode_bits) == ("tmp", 0o1777)


@pytest.mark.parametrize(
    ("changed", "is_told"),
    [
        (File(content=b"abc"), False),
        (File(content=b"abd"), True),
        (File(content=b"abc", mode=0o600), True),
        (File(content=b"abc", mtime_ns=File().mtime_ns + 1), True),
        (File(content=b"abc", xattrs=(("user.a", b"1"),)), True),
        (File("link", content=b"abc", mode=0o777), True),
    ],
)
def test_a_file_is_told_unless_it_equals_what_it_hides(
    tmp_path: Path, changed: File, *, is_told: bool
) -> None:
    lower = directory(tmp_path, "lower", {"f": File(content=b"abc")})
    upper = directory(tmp_path, "upper", {"f": changed})

    assert names(upper, lower) == ["f"] * is_told


def test_the_topmost_lower_layer_counts(tmp_path: Path) -> None:
    bottom = directory(tmp_path, "bottom", {"f": File(content=b"old")})
    middle = directory(tmp_path, "middle", {"f": File(content=b"new")})
    upper = directory(tmp_path, "upper", {"f": File(content=b"new")})

    assert names(upper, middle, bottom) == []
    assert names(upper, bottom, middle) == ["f"]


def test_hard_links_follow_the_first_name(tmp_path: Path) -> None:
    upper = directory(tmp_path, "upper", {"d": File("dir"), "d/a": File(content=b"x")})
    os.link(upper / "d/a", upper / "b")

    found = told(upper)

    assert [(e.name, e.kind, e.link_name, e.size_bytes) for e in found] == [
        ("b", "file", "", 1),
        ("d", "directory", "", 0),
        ("d/a", "hardlink", "b", 0),
    ]


def test_a_link_to_an_unchanged_lower_file_is_a_full_copy(tmp_path: Path) -> None:
    lower = directory(tmp_path, "lower", {"a": File(content=b"x")})
    upper = directory(tmp_path, "upper", {"a": File(content=b"x")})
    os.link(upper / "a", upper / "b")
    os.link(upper / "a", upper / "c")

    found = [(e.name, e.kind, e.link_name) for e in told(upper, lower)]

    assert found == [("b", "file", ""), ("c", "hardlink", "b")]


def test_sockets_are_left_out_and_fifos_are_not(tmp_path: Path) -> None:
    upper = directory(tmp_path, "upper", {"fifo": File("fifo")})
    os.mknod(upper / "socket", stat.S_IFSOCK | 0o600)

    assert [(e.name, e.kind) for e in told(upper)] == [("fifo", "fifo")]


def test_overlay_and_private_attributes_stay_here(tmp_path: Path) -> None:
    xattrs = (
        ("user.builder.owner", b"5:6"),
        ("user.mine", b"1"),
        ("user.overlay.origin", b"x"),
    )
    upper = directory(tmp_path, "upper", {"f": File(xattrs=xattrs)})

    (entry,) = told(upper)

    assert (entry.xattrs, entry.uid) == ((("user.mine", b"1"),), os.geteuid())


def test_an_owner_kept_beside_a_file_is_told_when_rootless(tmp_path: Path) -> None:
    attribute = (("user.builder.owner", b"5:6"),)
    upper = directory(
        tmp_path, "upper", {"d": File("dir", xattrs=attribute), "f": File(xattrs=attribute)}
    )

    assert [(e.uid, e.gid) for e in told(upper, userxattr=True)] == [(5, 6), (5, 6)]


def test_a_name_that_would_be_a_whiteout_is_an_error(tmp_path: Path) -> None:
    upper = directory(tmp_path, "upper", {".wh.x": File()})

    with pytest.raises(InvalidImage, match=r"\.wh\.x"):
        told(upper)


def test_times_may_be_clamped(tmp_path: Path) -> None:
    upper = directory(tmp_path, "upper", {"new": File(), "old": File(mtime_ns=5 * 10**9)})
    fd = os.memfd_create("layer")

    write_layer(str(upper), (), fd, compression="none", max_mtime_s=1000)

    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb") as archive, tarfile.open(fileobj=archive) as tar:
        members = tar.getmembers()
    assert [(m.name, m.mtime) for m in members] == [("new", 1000), ("old", 5)]


def test_an_empty_directory_makes_the_well_known_empty_layer(tmp_path: Path) -> None:
    fd = os.memfd_create("layer")

    blob = write_layer(str(directory(tmp_path, "upper")), (), fd, compression="none")

    os.close(fd)
    assert (blob.diff_id[:15], blob.diff_id[-3:]) == ("sha256:5f70bf18", "6ef")


def test_a_deep_tree_is_walked(tmp_path: Path) -> None:
    upper = directory(tmp_path, "upper")
    fd = os.open(upper, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=fd)
        inner = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)

    assert len(names(upper, upper.parent)) == 1100
    remove(upper)  # pytest's own cleaning would recurse


@pytest.mark.root
@settings(max_examples=40, deadline=None)
@given(tree=trees())
def test_what_a_layer_unpacks_to_is_what_it_was_made_of(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, File]
) -> None:
    base = tmp_path_factory.mktemp("round")
    upper = directory(base, "upper", tree)
    archive = layer_bytes(upper)
    again = directory(base, "again")
    fd = os.open(again, os.O_RDONLY)

    apply_layer(BytesSource(archive), fd)

    os.close(fd)
    assert read(again) == read(upper)
    assert layer_bytes(again) == archive


@pytest.mark.root
class TestWhiteouts:
    def test_a_whiteout_deletes_what_a_lower_layer_has(self, tmp_path: Path) -> None:
        lower = directory(tmp_path, "lower", {"d": File("dir"), "d/gone": File()})
        upper = directory(tmp_path, "upper", {"d": File("dir")})
        whiteout(upper / "d/gone")
        whiteout(upper / "never-there")

        found = told(upper, lower)

        assert [entry.name for entry in found] == ["d", "d/.wh.gone"]
        assert found[1] == Entry("d/.wh.gone", mode_bits=0)

    def test_a_lower_whiteout_hides_what_is_below_it(self, tmp_path: Path) -> None:
        bottom = directory(tmp_path, "bottom", {"f": File(content=b"x")})
        middle = directory(tmp_path, "middle")
        whiteout(middle / "f")
        upper = directory(tmp_path, "upper", {"f": File(content=b"x")})

        assert names(upper, middle, bottom) == ["f"]

    def test_an_opaque_directory_is_told_by_whiteouts(self, tmp_path: Path) -> None:
        old = {
            "d": File("dir", mode=0o755),
            "d/a": File(content=b"a"),
            "d/gone": File(),
            "d/sub": File("dir", mode=0o755),
            "d/sub/gone": File(),
            "d/sub/kept": File(content=b"kept"),
        }
        lower = directory(tmp_path, "lower", old)
        upper = directory(
            tmp_path,
            "upper",
            {
                "d": File("dir", mode=0o755),
                "d/a": File(content=b"a"),
                "d/new": File(),
                "d/sub": File("dir", mode=0o755),
                "d/sub/kept": File(content=b"kept"),
            },
        )
        opaque(upper / "d")

        assert names(upper, lower) == ["d", "d/.wh.gone", "d/new", "d/sub", "d/sub/.wh.gone"]

    def test_a_mark_of_the_other_kind_of_mount_means_nothing(self, tmp_path: Path) -> None:
        lower = directory(tmp_path, "lower", {"d": File("dir"), "d/kept": File()})
        mark = (("user.overlay.opaque", b"y"),)
        upper = directory(tmp_path, "upper", {"d": File("dir", xattrs=mark), "d/new": File()})

        assert names(upper, lower) == ["d", "d/new"]

    def test_an_opaque_lower_directory_ends_the_search(self, tmp_path: Path) -> None:
        bottom = directory(tmp_path, "bottom", {"d": File("dir"), "d/f": File(content=b"x")})
        middle = directory(tmp_path, "middle", {"d": File("dir")})
        opaque(middle / "d")
        upper = directory(tmp_path, "upper", {"d": File("dir"), "d/f": File(content=b"x")})

        assert names(upper, middle, bottom) == ["d", "d/f"]

    def test_a_directory_may_replace_a_file_and_a_file_a_directory(self, tmp_path: Path) -> None:
        lower = directory(tmp_path, "lower", {"a": File(), "b": File("dir"), "b/x": File()})
        upper = directory(tmp_path, "upper", {"a": File("dir"), "a/y": File(), "b": File()})

        assert [(e.name, e.kind) for e in told(upper, lower)] == [
            ("a", "directory"),
            ("a/y", "file"),
            ("b", "file"),
        ]


WHOLE_LOWER = {"a": File(), "b": File(), "d": File("dir"), "d/c": File()}
WHOLE_UPPER = {"b": File(), "d": File("dir"), "d/e": File()}


def test_of_a_whole_tree_what_is_not_there_is_deleted(tmp_path: Path) -> None:
    lower = directory(tmp_path, "lower", WHOLE_LOWER)
    whole = directory(tmp_path, "whole", WHOLE_UPPER)

    found = changes(str(whole), [str(lower)], userxattr=False, is_whole=True)

    assert [change.entry.name for change in found] == [".wh.a", "d", "d/.wh.c", "d/e"]
