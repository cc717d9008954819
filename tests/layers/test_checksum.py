import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings

from builder.errors import KernelError, NotFound
from builder.graph.vertex import Selector
from builder.layers.context import ContextTree
from builder.layers.folder import Folder
from builder.layers.memo import Memo
from tests.layers.files import File, Tree, make, trees
from tests.layers.matcher import Patterns, context, stage

ALL = Selector("/")
TREE = {
    "a.txt": File(content=b"a"),
    "b.txt": File(content=b"b"),
    "d": File("dir", mode=0o755),
    "d/e": File("dir", mode=0o755),
    "d/e/f": File(content=b"f"),
    "link": File("link", b"d"),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    make(path, TREE)
    return path


def digest(root: Path, selector: Selector, *ignore: str) -> str:
    with context(root, *ignore) as tree:
        return tree.digest(selector)


def test_equal_trees_have_equal_digests(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        make(tmp_path / name, TREE)
        found.append(digest(tmp_path / name, ALL))

    assert found[0] == found[1]


Change = Callable[[Path], object]
CHANGES: dict[str, tuple[Change, bool]] = {
    "content": (lambda root: (root / "d/e/f").write_bytes(b"g"), True),
    "size": (lambda root: (root / "d/e/f").write_bytes(b"longer"), True),
    "mode": (lambda root: (root / "d/e/f").chmod(0o600), True),
    "directory mode": (lambda root: (root / "d/e").chmod(0o700), True),
    "new file": (lambda root: (root / "d/new").touch(), True),
    "new directory": (lambda root: (root / "d/new").mkdir(), True),
    "renamed": (lambda root: (root / "d/e/f").rename(root / "d/e/g"), True),
    "moved": (lambda root: (root / "d/e/f").rename(root / "d/f"), True),
    "to link": (lambda root: relink(root / "d/e/f", "f"), True),
    "time": (lambda root: os.utime(root / "d/e/f", (1, 1)), False),
    "elsewhere": (lambda root: (root / "a.txt").write_bytes(b"z"), False),
    "attribute": (lambda root: os.setxattr(root / "d/e/f", "user.a", b"1"), False),
}


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("name", CHANGES)
def test_a_digest_changes_with_what_is_copied_and_nothing_else(root: Path, name: str) -> None:
    change, is_seen = CHANGES[name]
    before = digest(root, Selector("/d"))

    change(root)

    assert (digest(root, Selector("/d")) != before) is is_seen


@pytest.mark.root
def test_owners_count_in_a_stage_only(root: Path) -> None:
    with context(root) as tree, stage(root) as whole:
        before = tree.digest(ALL), whole.digest(ALL)
    os.chown(root / "d/e/f", 5, 6)

    with context(root) as tree, stage(root) as whole:
        after = tree.digest(ALL), whole.digest(ALL)

    assert before[0] == after[0]
    assert before[1] != after[1]


def test_attributes_count_in_a_stage(root: Path) -> None:
    with stage(root) as tree:
        before = tree.digest(ALL)
    os.setxattr(root / "a.txt", "user.a", b"1")
    with stage(root) as tree:
        after = tree.digest(ALL)
    os.setxattr(root / "a.txt", "user.overlay.x", b"1")
    with stage(root) as tree:
        again = tree.digest(ALL)

    assert before != after
    assert after == again


def test_a_source_that_is_a_link_is_followed(root: Path) -> None:
    before = digest(root, Selector("/link"))

    (root / "d/e/f").write_bytes(b"changed")

    assert digest(root, Selector("/link")) != before


def test_links_lead_nowhere_else(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("host")
    (root / "out").symlink_to("../secret")
    (root / "absolute").symlink_to(tmp_path / "secret")

    for path in ("/out", "/absolute", "/../secret", "/d/../../secret"):
        with pytest.raises(NotFound):
            digest(root, Selector(path))


@pytest.mark.parametrize("path", ["/missing", "missing/", "/d/missing", "/a.txt/x", "/link/q"])
def test_a_missing_source_is_an_error_in_the_references_words(root: Path, path: str) -> None:
    clean = "/" + path.strip("/")

    with pytest.raises(NotFound, match=f'failed to calculate .* of ref .*: "{clean}": not found'):
        digest(root, Selector(path))


def test_a_misspelt_source_is_guessed(root: Path) -> None:
    with pytest.raises(NotFound) as caught:
        digest(root, Selector("/a.tx"))

    assert caught.value.fix == "did you mean a.txt?"


def test_wildcards_select_by_name(root: Path) -> None:
    selector = Selector("/*.txt", has_wildcards=True, is_required=False)
    before = digest(root, selector)

    (root / "other").touch()
    unchanged = digest(root, selector)
    (root / "c.txt").touch()

    assert unchanged == before
    assert digest(root, selector) != before


def test_a_wildcard_may_match_nothing(root: Path) -> None:
    assert digest(root, Selector("/*.none", has_wildcards=True, is_required=False))
    with pytest.raises(NotFound):
        digest(root, Selector("/*.none", has_wildcards=True))


def test_excluded_files_do_not_count(root: Path) -> None:
    selector = Selector("/d", exclude=("e/f",))
    before = digest(root, selector)

    (root / "d/e/f").write_bytes(b"changed")

    assert digest(root, selector) == before


class TestIgnoring:
    def test_ignored_files_do_not_count_and_are_not_found(self, root: Path) -> None:
        before = digest(root, ALL, "d", "*.txt")
        (root / "d/e/f").write_bytes(b"changed")

        assert digest(root, ALL, "d", "*.txt") == before
        for path in ("/d", "/d/e/f", "/a.txt", "/link"):
            with pytest.raises(NotFound):
                digest(root, Selector(path), "d", "*.txt")

    def test_a_file_shown_again_brings_its_directories(self, root: Path) -> None:
        (root / "d/hidden").touch()
        with context(root, "d", "!d/e/f") as tree:
            shown = [path for path, _ in tree.files(Selector("/d"))]

        assert shown == ["d", "d/e", "d/e/f"]

    def test_a_directory_with_nothing_shown_is_not_there(self, root: Path) -> None:
        with pytest.raises(NotFound):
            digest(root, Selector("/d"), "d", "!d/nothing")
        with context(root, "d", "!d/nothing") as tree:
            assert [path for path, _ in tree.files(ALL)][1:] == ["a.txt", "b.txt", "link"]


class TestMemo:
    def settle(self) -> None:
        time.sleep(0.03)

    def remembered(self, root: Path, *ignore: str, memo: Memo | None = None) -> tuple[str, Memo]:
        """Digest all, and give the digest with the memo as the next build loads it."""
        with context(root, *ignore, memo=memo) as tree:
            found = tree.digest(ALL)
            return found, Memo(tree.remember().packed())

    def test_unchanged_directories_are_not_looked_at(self, root: Path) -> None:
        self.settle()
        expected, memo = self.remembered(root)

        with context(root, memo=memo) as tree:
            listings: list[str] = []
            tree.tree.listing = listings.append  # type: ignore[method-assign,assignment]
            found = tree.digest(ALL)

        assert found == expected
        assert listings == []

    def test_what_a_file_was_is_known_from_the_memo(self, root: Path) -> None:
        self.settle()
        _, memo = self.remembered(root)

        with context(root, memo=memo) as tree:
            tree.digest(ALL)
            known = [tree.hashed_content(path) for path in ("a.txt", "b.txt", "d/e/f")]
            assert tree.hashed_content("nothing") is None
        with context(root) as tree:
            tree.digest(ALL)
            expected = [tree.hashed_content(path) for path in ("a.txt", "b.txt", "d/e/f")]

        assert known == expected
        assert all(one is not None and one[2] for one in known)

    @pytest.mark.parametrize("ignore", [(), ("d",), ("*", "!d/e"), ("**/f",)])
    def test_the_memo_never_changes_a_digest(self, root: Path, ignore: tuple[str, ...]) -> None:
        self.settle()
        memo = Memo()
        for number, change in enumerate((None, "d/e/f", "d/e/new", "a.txt", "d/g/h", None)):
            if change:
                (root / change).parent.mkdir(exist_ok=True)
                (root / change).write_text(f"{number}")
                self.settle()
            found, memo = self.remembered(root, *ignore, memo=memo)
            with context(root, *ignore) as tree:
                assert tree.digest(ALL) == found
            other, memo = self.remembered(root, "b.txt", memo=memo)
            with context(root, "b.txt") as tree:
                assert tree.digest(ALL) == other

    def test_a_changed_file_is_read_again(self, root: Path) -> None:
        self.settle()
        before, memo = self.remembered(root)
        times = (root / "a.txt").stat()
        (root / "a.txt").write_bytes(b"X")
        os.utime(root / "a.txt", ns=(times.st_atime_ns, times.st_mtime_ns))

        assert self.remembered(root, memo=memo)[0] != before

    def test_a_file_of_this_instant_is_not_remembered(self, root: Path) -> None:
        (root / "a.txt").write_bytes(b"now")
        _, memo = self.remembered(root)

        known = memo.find("")
        assert known is None or known.part is None
        assert known is None or b"a.txt" not in {name for name, _ in known.digests()}

    def test_single_files_are_remembered_too(self, root: Path) -> None:
        self.settle()
        with context(root) as tree:
            tree.digest(Selector("/a.txt"))
            memo = Memo(tree.remember().packed())

        known = memo.find("")
        assert known is not None
        assert known.part is None
        assert [name for name, _status in known.digests()] == [b"a.txt"]

    def test_what_was_not_used_is_kept_for_a_while(self, root: Path) -> None:
        self.settle()
        _, memo = self.remembered(root)
        with context(root, memo=memo) as tree:
            tree.digest(Selector("/a.txt"))
            again = Memo(tree.remember().packed())

        assert again.find("d/e") == memo.find("d/e")
        assert len(again.find("").digests()) == 2  # type: ignore[union-attr]

    def test_a_directory_listed_before_is_not_listed_again(self, root: Path) -> None:
        self.settle()
        expected, _ = self.remembered(root)
        folders = {}
        with context(root) as tree:
            for path in ("", "d", "d/e"):
                folder = tree.tree.folder(path)
                folders[path] = Folder(None, folder.names, folder.statuses)
        fd = os.open(root, os.O_RDONLY)
        tree = ContextTree(fd, compile_patterns=Patterns, early=folders.get)
        (root / "d/e/later").touch()

        assert tree.digest(ALL) == expected
        assert [path for path, _ in tree.files(ALL)] == [
            "", "a.txt", "b.txt", "d", "d/e", "d/e/f", "link",
        ]  # fmt: skip
        os.close(fd)


def test_everything_looked_at_is_told(root: Path) -> None:
    with context(root) as tree:
        tree.digest(Selector("/d/e"))
        seen = {path for path, _ in tree.tree.seen()}

    assert seen == {"", "a.txt", "b.txt", "d", "link", "d/e", "d/e/f"}


def test_special_files_are_digested_without_opening_them(root: Path) -> None:
    before = digest(root, ALL)
    os.mkfifo(root / "fifo")
    os.mknod(root / "socket", 0o140600)

    assert digest(root, ALL) != before


def test_an_unreadable_place_is_an_error_with_its_name(root: Path) -> None:
    with context(root) as tree:
        tree.tree.listing("")
        (root / "a.txt").unlink()
        with pytest.raises(KernelError, match=r"a\.txt"):
            tree.digest(Selector("/a.txt"))


def test_a_deep_tree_is_digested(tmp_path: Path) -> None:
    depth = 1100
    fd = os.open(tmp_path, os.O_RDONLY)
    fds = [fd]
    for _ in range(depth):
        os.mkdir("d", dir_fd=fds[-1])
        fds.append(os.open("d", os.O_RDONLY, dir_fd=fds[-1]))
        os.close(fds.pop(-2)) if len(fds) > 2 else None
    with context(tmp_path) as tree:
        count = sum(1 for _ in tree.files(ALL))
    for left in fds:
        os.close(left)

    from builder.kernel.trees import remove_tree

    root_fd = os.open(tmp_path, os.O_RDONLY)
    remove_tree(root_fd, "d")
    os.close(root_fd)
    assert count == depth + 1


@pytest.mark.root
@settings(max_examples=30, deadline=None)
@given(tree=trees())
def test_the_digest_of_a_tree_is_a_function_of_the_tree(
    tmp_path_factory: pytest.TempPathFactory, tree: Tree
) -> None:
    base = tmp_path_factory.mktemp("digest")
    found = []
    for name in ("one", "two"):
        (base / name).mkdir()
        make(base / name, tree)
        with stage(base / name) as whole:
            found.append(whole.digest(ALL))

    assert found[0] == found[1]


def test_names_of_one_file_are_told_from_equal_files(root: Path) -> None:
    (root / "d/one").write_text("same")
    (root / "d/other").write_text("same")
    apart = digest(root, ALL), digest(root, Selector("d")), digest(root, Selector("d/other"))

    (root / "d/other").unlink()
    os.link(root / "d/one", root / "d/other")
    joined = digest(root, ALL), digest(root, Selector("d")), digest(root, Selector("d/other"))

    assert joined[0] != apart[0]
    assert joined[1] != apart[1]
    assert joined[2] == apart[2]


def test_a_name_elsewhere_does_not_count(root: Path, tmp_path: Path) -> None:
    before = digest(root, ALL)

    os.link(root / "d/e/f", tmp_path / "elsewhere")

    assert digest(root, ALL) == before
