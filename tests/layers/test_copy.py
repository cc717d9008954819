import gzip
import io
import os
import stat
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings

from builder.errors import BuilderError, Conflict, NotFound, UsageError
from builder.graph.ops import Copy, Mkdir, Owner, Write
from builder.graph.vertex import Selector
from builder.layers.copy import CopyResult, copy, mkdir, write
from tests.layers.files import MTIME_NS, File, Tree, make, read, trees
from tests.layers.matcher import context, stage


class Place:
    """A context, a root to copy into, and a canary beside them that nothing may touch."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.source = base / "context"
        self.root = base / "root"
        self.source.mkdir()
        self.root.mkdir()
        (base / "canary").write_text("secret")
        self.fd = os.open(self.root, os.O_RDONLY)

    def copy(self, source: str, dest: str, *ignore: str, **fields: object) -> CopyResult:
        action = Copy(0, source, dest)._replace(**fields)  # type: ignore[arg-type]
        opened = context(self.source, *ignore) if action.is_context else stage(self.source)
        with opened as tree:
            return copy(action, tree, self.fd)

    def names(self) -> list[str]:
        return list(read(self.root))

    def mode(self, path: str) -> int:
        return stat.S_IMODE((self.root / path).lstat().st_mode)

    def text(self, path: str) -> str:
        return (self.root / path).read_text()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    os.close(place.fd)
    assert (tmp_path / "canary").read_text() == "secret"
    assert sorted(os.listdir(tmp_path)) == ["canary", "context", "root"]


SOURCE = {
    "a.txt": File(content=b"a", mode=0o640),
    "b.txt": File(content=b"b"),
    "d": File("dir", mode=0o700, mtime_ns=5 * 10**9),
    "d/.dot": File(content=b"."),
    "d/e": File("dir", mode=0o750),
    "d/e/f": File(content=b"f", mode=0o4755),
    "d/l": File("link", b"/etc/passwd"),
    "to-d": File("link", b"d"),
    "to-a": File("link", b"a.txt"),
}


@pytest.fixture
def full(place: Place) -> Place:
    make(place.source, SOURCE)
    return place


class TestDestination:
    @pytest.mark.parametrize(
        ("source", "dest", "there", "expected"),
        [
            ("/a.txt", "/x", {}, ["x"]),
            ("/a.txt", "/x/", {}, ["x", "x/a.txt"]),
            ("/a.txt", "/x", {"x": File("dir")}, ["x", "x/a.txt"]),
            ("/a.txt", "/p/q/x", {}, ["p", "p/q", "p/q/x"]),
            ("/a.txt", "/", {}, ["a.txt"]),
            ("/a.txt", "/x", {"x": File(content=b"old")}, ["x"]),
            ("/a.txt", "/l", {"l": File("link", b"new")}, ["l", "new"]),
            ("/a.txt", "/l", {"l": File("link", b"/p/new")}, ["l", "p", "p/new"]),
            (
                "/a.txt",
                "/l/",
                {"t": File("dir"), "l": File("link", b"t")},
                ["l", "t", "t/a.txt"],
            ),
            ("/a.txt", "/l", {"t": File("dir"), "l": File("link", b"/t")}, ["l", "t", "t/a.txt"]),
            ("/a.txt", "/l/y", {"l": File("link", b"../../out")}, ["l", "out", "out/y"]),
            ("/to-a", "/x/", {}, ["x", "x/to-a"]),
            ("/d", "/x", {}, ["x", "x/.dot", "x/e", "x/e/f", "x/l"]),
            ("/to-d/", "/x/", {}, ["x", "x/.dot", "x/e", "x/e/f", "x/l"]),
            ("/d/e", "/", {}, ["f"]),
            ("/d/e", "/l", {"l": File("link", b"t")}, ["l", "t", "t/f"]),
            ("/*.txt", "/x/", {}, ["x", "x/a.txt", "x/b.txt"]),
            ("/d*", "/x/", {}, ["x", "x/.dot", "x/e", "x/e/f", "x/l"]),
            ("/d/[.e]*", "/x/", {}, ["x", "x/.dot", "x/f"]),
            ("/?.none", "/x/", {}, []),
        ],
    )
    def test_sources_land_where_the_reference_puts_them(
        self, full: Place, source: str, dest: str, there: Tree, expected: list[str]
    ) -> None:
        make(full.root, there)

        full.copy(source, dest, is_required="?" not in source)

        assert full.names() == expected

    def test_a_link_to_a_file_is_followed_at_both_ends(self, full: Place) -> None:
        make(full.root, {"old": File(content=b"old"), "l": File("link", b"old")})

        full.copy("/to-a", "/l")

        assert full.text("old") == "a"
        assert (full.root / "l").is_symlink()

    def test_a_link_inside_the_destination_is_replaced(self, full: Place) -> None:
        make(full.root, {"x": File("dir"), "x/a.txt": File("link", b"../../canary")})

        full.copy("/a.txt", "/x/")

        assert full.text("x/a.txt") == "a"
        assert not (full.root / "x/a.txt").is_symlink()

    @pytest.mark.parametrize(
        ("source", "dest", "there", "message"),
        [
            ("/d", "/x", {"x": File()}, "cannot copy to non-directory: /x"),
            ("/a.txt", "/x/", {"x": File()}, "cannot copy to non-directory: /x"),
            ("/a.txt", "/x/y", {"x": File()}, "cannot copy to non-directory: /x"),
            ("/d", "/x", {"x": File("dir"), "x/e": File()}, "cannot copy to non-directory: /x/e"),
            (
                "/d",
                "/x",
                {"x": File("dir"), "y": File("dir"), "x/e": File("link", b"../y")},
                "cannot copy to non-directory: /x/e",
            ),
            (
                "/a.txt",
                "/x/",
                {"x": File("dir"), "x/a.txt": File("dir")},
                "cannot replace to directory .*/a.txt with file",
            ),
        ],
    )
    def test_directories_and_files_do_not_replace_each_other(
        self, full: Place, source: str, dest: str, there: Tree, message: str
    ) -> None:
        make(full.root, there)

        with pytest.raises(Conflict, match=message):
            full.copy(source, dest)

    def test_a_destination_through_a_link_stays_inside(self, full: Place) -> None:
        up = os.fsencode(os.path.relpath(full.base, full.root))
        make(full.root, {"up": File("link", up), "abs": File("link", os.fsencode(full.base))})

        full.copy("/a.txt", "/up/canary")
        full.copy("/a.txt", "/abs/canary")

        assert full.text("canary") == "a"


class TestSources:
    @pytest.mark.parametrize("source", ["/absent", "/d/absent", "/a.txt/x", "/d/l", "/d/l*"])
    def test_a_missing_source_is_an_error(self, full: Place, source: str) -> None:
        with pytest.raises(NotFound, match="not found"):
            full.copy(source, "/x")
        assert full.names() == []

    @pytest.mark.parametrize("target", ["../canary", "{base}/canary", "d/../../canary", ".."])
    def test_links_out_of_the_context_lead_nowhere(self, full: Place, target: str) -> None:
        (full.source / "out").symlink_to(target.format(base=full.base))

        try:
            full.copy("/out", "/x/")
        except NotFound:
            pass
        else:
            assert target == ".."  # the root itself: its content was copied
        full.copy("/", "/all/")

        assert "secret" not in [f.content.decode() for f in read(full.root).values()]

    def test_an_ignored_file_is_not_copied(self, full: Place) -> None:
        full.copy("/", "/", "d", "*.txt", "!b.txt")

        assert full.names() == ["b.txt", "to-a", "to-d"]

    def test_excluded_files_stay(self, full: Place) -> None:
        full.copy("/", "/x/", exclude=("*.txt", "d/e", "!d/e/f"))

        assert full.names() == [
            "x",
            "x/d",
            "x/d/.dot",
            "x/d/e",
            "x/d/e/f",
            "x/d/l",
            "x/to-a",
            "x/to-d",
        ]

    def test_exclusion_is_relative_to_the_source_and_applies_to_wildcards(
        self, full: Place
    ) -> None:
        full.copy("/d", "/x/", exclude=("e/f",))
        full.copy("/*.txt", "/y/", exclude=("a*",))

        assert full.names() == ["x", "x/.dot", "x/e", "x/l", "y", "y/b.txt"]

    @pytest.mark.root
    def test_special_files_do_not_block(self, place: Place) -> None:
        os.mkfifo(place.source / "fifo", 0o600)
        os.mknod(place.source / "socket", stat.S_IFSOCK | 0o640)

        place.copy("/", "/")

        found = read(place.root)
        assert (found["fifo"].kind, found["socket"]) == (
            "fifo",
            File("file", b"", 0o640, mtime_ns=found["socket"].mtime_ns),
        )

    @pytest.mark.root
    def test_devices_that_could_harm_are_left_out(self, place: Place) -> None:
        os.mknod(place.source / "mem", stat.S_IFCHR | 0o600, os.makedev(1, 1))
        os.mknod(place.source / "null", stat.S_IFCHR | 0o600, os.makedev(1, 3))

        result = place.copy("/", "/")

        assert place.names() == ["null"]
        assert "mem" in result.warnings[0]


class TestMetadata:
    def test_files_keep_mode_and_time_and_the_top_directory_only_its_time(
        self, full: Place
    ) -> None:
        full.copy("/d", "/x")

        found = read(full.root)
        assert (found["x"].mode, found["x"].mtime_ns) == (0o755, 5 * 10**9)
        assert (found["x/e"].mode, found["x/e"].mtime_ns) == (0o750, MTIME_NS)
        assert (found["x/e/f"].mode, found["x/e/f"].mtime_ns) == (0o4755, MTIME_NS)
        assert found["x/l"] == SOURCE["d/l"]._replace(mode=0o777)

    def test_existing_directories_below_are_overwritten_and_the_top_one_is_not(
        self, full: Place
    ) -> None:
        make(full.root, {"x": File("dir", mode=0o1777), "x/e": File("dir", mode=0o777)})

        full.copy("/d", "/x")

        assert (full.mode("x"), full.mode("x/e")) == (0o1777, 0o750)
        assert (full.root / "x").stat().st_mtime == 5

    @pytest.mark.root
    def test_owners_are_root_from_a_context_and_kept_from_a_stage(self, full: Place) -> None:
        for path in ("a.txt", "d", "d/e", "d/l"):
            os.chown(full.source / path, 5, 6, follow_symlinks=False)

        full.copy("/", "/context/")
        full.copy("/", "/stage/", is_context=False)

        found = read(full.root)
        owned = {name: (f.uid, f.gid) for name, f in found.items() if (f.uid, f.gid) != (0, 0)}
        assert owned == {f"stage/{name}": (5, 6) for name in ("a.txt", "d", "d/e", "d/l")}

    @pytest.mark.root
    def test_attributes_are_dropped_from_a_context_and_kept_from_a_stage(
        self, place: Place
    ) -> None:
        attributes = (("user.a", b"1"), ("user.overlay.x", b"2"))
        make(place.source, {"d": File("dir", xattrs=attributes), "d/f": File(xattrs=attributes)})

        place.copy("/", "/context/")
        place.copy("/", "/stage/", is_context=False)

        found = read(place.root)
        kept = {name: file.xattrs for name, file in found.items() if file.xattrs}
        assert kept == {"stage/d": attributes[:1], "stage/d/f": attributes[:1]}

    def test_hard_links_are_kept_within_a_copy(self, place: Place) -> None:
        make(place.source, {"d": File("dir"), "d/a": File(content=b"x"), "e": File("dir")})
        os.link(place.source / "d/a", place.source / "e/b")
        os.link(place.source / "d/a", place.source / "outside")

        place.copy("/", "/x/", exclude=("outside",))

        assert (place.root / "x/d/a").stat().st_nlink == 2

    @pytest.mark.root
    def test_chown_sets_everything_that_is_made(self, full: Place) -> None:
        make(full.root, {"etc": File("dir"), "etc/passwd": File(content=b"app:x:7:8::/:\n")})

        result = full.copy("/d", "/p/x", owner=Owner("app"))
        full.copy("/a.txt", "/q/", owner=Owner("9", "10"))

        found = read(full.root)
        assert {(f.uid, f.gid) for name, f in found.items() if name.startswith("p")} == {(7, 8)}
        assert {(f.uid, f.gid) for name, f in found.items() if name.startswith("q")} == {(9, 10)}
        assert result.warnings == ()

    def test_an_unknown_owner_is_told(self, full: Place) -> None:
        result = full.copy("/a.txt", "/x", owner=Owner("nobody"))

        assert "nobody" in result.warnings[0]

    def test_an_octal_mode_is_everyones_and_a_symbolic_one_the_entries(self, full: Place) -> None:
        full.copy("/d", "/p/x", chmod="0700")
        full.copy("/d/e", "/q/y", chmod="go=rX")

        found = {name: f.mode for name, f in read(full.root).items() if f.kind != "link"}
        assert {mode for name, mode in found.items() if name.startswith("p")} == {0o700}
        assert (found["q"], found["q/y"], found["q/y/f"]) == (0o755, 0o755, 0o4755)

    def test_a_malformed_mode_is_an_error(self, full: Place) -> None:
        with pytest.raises(UsageError, match="invalid chmod parameter: '64a'"):
            full.copy("/a.txt", "/x", chmod="64a")


class TestParents:
    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("/d/e/f", ["o", "o/d", "o/d/e", "o/d/e/f"]),
            ("/d/./e/f", ["o", "o/e", "o/e/f"]),
            ("/d/e", ["o", "o/d", "o/d/e", "o/d/e/f"]),
            ("/d/./", ["o", "o/.dot", "o/e", "o/e/f", "o/l"]),
            ("/d/e/*", ["o", "o/d", "o/d/e", "o/d/e/f"]),
            ("/**/f", ["o", "o/d", "o/d/e", "o/d/e/f"]),
            ("/*.txt", ["o", "o/a.txt", "o/b.txt"]),
            ("/d/e/./*", ["o", "o/f"]),
            ("/d/l", ["o", "o/d", "o/d/l"]),
            ("/*/./e/f", ["o", "o/e", "o/e/f"]),
            ("/./*.none", []),
        ],
    )
    def test_sources_keep_their_directories(
        self, full: Place, source: str, expected: list[str]
    ) -> None:
        full.copy(source, "/o/", parents=True, is_required="*" not in source)

        assert full.names() == expected

    def test_kept_directories_have_the_sources_mode(self, full: Place) -> None:
        full.copy("/d/e/f", "/o/", parents=True)

        assert [full.mode(path) for path in ("o", "o/d", "o/d/e")] == [0o755, 0o700, 0o750]

    def test_exclusion_is_relative_to_the_pivot(self, full: Place) -> None:
        full.copy("/d/./e", "/o/", parents=True, exclude=("e/f",))

        assert full.names() == ["o", "o/e"]

    def test_a_missing_source_is_an_error(self, full: Place) -> None:
        with pytest.raises(NotFound, match='"/d/absent": not found'):
            full.copy("/d/absent", "/o/", parents=True)


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.mode, info.uid, info.gid, info.mtime = 0o640, 3, 4, 5
            tar.addfile(info)
    return out.getvalue()


class TestArchives:
    def test_an_archive_is_unpacked_into_a_directory(self, place: Place) -> None:
        (place.source / "x.tar.gz").write_bytes(gzip.compress(archive("d/f")))

        place.copy("/x.tar.gz", "/o", unpack="archives")

        assert place.names() == ["o", "o/d", "o/d/f"]
        assert (place.mode("o/d"), place.mode("o/d/f")) == (0o755, 0o640)
        assert (place.root / "o/d/f").stat().st_mtime == 5

    @pytest.mark.root
    def test_owners_come_from_the_archive_unless_given(self, place: Place) -> None:
        (place.source / "x.tar").write_bytes(archive("f"))

        place.copy("/x.tar", "/a/", unpack="archives", chmod="777")
        place.copy("/x.tar", "/b/", unpack="archives", owner=Owner("8"))

        found = read(place.root)
        assert {name: (f.uid, f.gid) for name, f in found.items()} == {
            "a": (0, 0),
            "a/f": (3, 4),
            "b": (8, 8),
            "b/f": (8, 8),
        }
        assert found["a/f"].mode == 0o640

    def test_what_is_no_archive_is_copied(self, place: Place) -> None:
        (place.source / "x.gz").write_bytes(gzip.compress(b"text"))
        (place.source / "x.tar").write_bytes(archive("f"))

        place.copy("/x.gz", "/o/", unpack="archives")
        place.copy("/x.tar", "/o/", unpack="never")

        assert place.names() == ["o", "o/x.gz", "o/x.tar"]

    @pytest.mark.parametrize("name", ["../canary", "l/canary"])
    def test_an_archive_cannot_leave_its_place(self, place: Place, name: str) -> None:
        place.root.joinpath("l").symlink_to("../..")
        (place.source / "x.tar").write_bytes(archive(name))

        with suppress(BuilderError):
            place.copy("/x.tar", "/", unpack="archives")


class TestMkdirAndWrite:
    def test_directories_are_made_through_links(self, place: Place) -> None:
        make(place.root, {"l": File("link", b"t")})

        mkdir(Mkdir("/l/x"), place.fd)

        assert place.names() == ["l", "t", "t/x"]

    def test_an_existing_directory_stays_as_it_is(self, place: Place) -> None:
        make(place.root, {"x": File("dir", mode=0o1777)})

        mkdir(Mkdir("/x"), place.fd)

        assert place.mode("x") == 0o1777

    @pytest.mark.root
    def test_new_directories_belong_to_the_owner(self, place: Place) -> None:
        mkdir(Mkdir("/x/y", Owner("5", "6")), place.fd)

        assert {(f.uid, f.gid) for f in read(place.root).values()} == {(5, 6)}

    def test_a_file_in_the_way_is_an_error(self, place: Place) -> None:
        make(place.root, {"f": File()})

        with pytest.raises(Conflict, match="mkdir /f: not a directory"):
            mkdir(Mkdir("/f"), place.fd)

    @pytest.mark.parametrize(
        ("dest", "expected"), [("/x", "x"), ("/x/", "x/EOF"), ("/d", "d/EOF"), ("/p/q", "p/q")]
    )
    def test_a_document_is_written(self, place: Place, dest: str, expected: str) -> None:
        make(place.root, {"d": File("dir", mode=0o755)})

        write(Write("hello\n", "EOF", dest), place.fd)

        assert (place.text(expected), place.mode(expected)) == ("hello\n", 0o644)

    def test_a_document_may_have_a_mode(self, place: Place) -> None:
        write(Write("\udcff", "EOF", "/x", chmod="+x"), place.fd)

        assert place.mode("x") == 0o755
        assert (place.root / "x").read_bytes() == b"\xff"


class TestVerification:
    def test_a_file_that_changed_since_it_was_digested_is_not_copied_silently(
        self, place: Place
    ) -> None:
        (place.source / "f").write_bytes(b"before")
        with context(place.source) as tree:
            tree.digest(Selector("/f"))
            (place.source / "f").write_bytes(b"after!")

            with pytest.raises(BuilderError, match="/f changed while"):
                copy(Copy(0, "/f", "/x"), tree, place.fd)

    def test_a_change_of_nothing_but_the_time_is_none(self, place: Place) -> None:
        (place.source / "f").write_bytes(b"same")
        time.sleep(0.03)
        with context(place.source) as tree:
            tree.digest(Selector("/f"))
            (place.source / "f").write_bytes(b"same")

            copy(Copy(0, "/f", "/x"), tree, place.fd)

        assert place.text("x") == "same"

    def test_a_file_that_became_a_link_is_not_followed(self, place: Place) -> None:
        (place.source / "f").write_bytes(b"x")
        with context(place.source) as tree:
            tree.tree.listing("")
            (place.source / "f").unlink()
            (place.source / "f").symlink_to("../canary")

            with pytest.raises(BuilderError):
                copy(Copy(0, "/f", "/x"), tree, place.fd)
        assert place.names() == []


@pytest.mark.root
@settings(max_examples=40, deadline=None)
@given(tree=trees())
def test_a_copy_of_a_stage_is_the_stage(
    tmp_path_factory: pytest.TempPathFactory, tree: Tree
) -> None:
    place = Place(tmp_path_factory.mktemp("copy"))
    make(place.source, tree)

    result = place.copy("/", "/", is_context=False)

    os.close(place.fd)
    assert read(place.root) == read(place.source)
    assert result.entries == len(tree)


@pytest.mark.root
@settings(max_examples=40, deadline=None)
@given(tree=trees())
def test_a_copy_of_a_context_differs_in_owners_and_attributes_only(
    tmp_path_factory: pytest.TempPathFactory, tree: Tree
) -> None:
    place = Place(tmp_path_factory.mktemp("copy"))
    make(place.source, tree)

    place.copy("/", "/x/y")

    os.close(place.fd)
    expected = {
        f"x/y/{name}": file._replace(uid=os.geteuid(), gid=os.getegid(), xattrs=())
        for name, file in read(place.source).items()
    }
    found = read(place.root)
    assert {name: f for name, f in found.items() if name.count("/") > 1} == expected


def test_a_deep_tree_is_copied(place: Place) -> None:
    from builder.kernel.trees import Cursor, remove_tree

    source_fd = os.open(place.source, os.O_RDONLY)
    with Cursor(source_fd) as cursor:
        for _ in range(1100):
            os.mkdir("d", dir_fd=cursor.fd)
            cursor.enter("d")

    result = place.copy("/", "/")

    remove_tree(source_fd, "d")
    remove_tree(place.fd, "d")
    os.close(source_fd)
    assert result.entries == 1100
