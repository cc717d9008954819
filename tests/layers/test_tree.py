import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.layers.tree import Below, Node, Tree
from tests.layers.files import File, make
from tests.layers.matcher import Patterns

FILES = {
    "a": File("dir"),
    "a/b": File("dir"),
    "a/b/c.txt": File(),
    "a/d.txt": File(),
    "a-b": File(),
    "e": File("dir"),
    "e/c.txt": File(),
    "in": File("link", b"/a/b"),
    "loop": File("link", b"loop"),
    "out": File("link", b"../../../etc"),
    "r[1]": File(),
    "up": File("link", b"a/b/../../e"),
}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    make(tmp_path, FILES)
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def path_of(node: Node | None) -> str | None:
    return None if node is None else node.path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", ""),
        ("a/b/", "a/b"),
        ("/a/./b/../d.txt", "a/d.txt"),
        ("in/c.txt", "a/b/c.txt"),
        ("in", "a/b"),
        ("in/..", "a"),
        ("up/c.txt", "e/c.txt"),
        ("../../a", "a"),
        ("out", None),
        ("loop", None),
        ("a/d.txt/x", None),
        ("absent", None),
    ],
)
def test_paths_are_resolved_inside_the_tree(root: int, path: str, expected: str | None) -> None:
    assert path_of(Tree(root).find(path)) == expected


def test_the_last_link_may_stay(root: int) -> None:
    assert path_of(Tree(root).find("in", follow_last=False)) == "in"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a", "a-b", "e", "in", "loop", "out", "r[1]", "up"]),
        ("*/c.txt", ["e/c.txt"]),
        ("a/*", ["a/b", "a/d.txt"]),
        ("in/*", ["a/b/c.txt"]),
        ("**/c.txt", ["a/b/c.txt", "e/c.txt"]),
        ("a/**", ["a/b", "a/b/c.txt", "a/d.txt"]),
        ("**/b/**/c.txt", ["a/b/c.txt"]),
        ("r[[]1]", ["r[1]"]),
        (r"r\[1]", ["r[1]"]),
        ("x*", []),
        ("a-b/*", []),
    ],
)
def test_patterns_find_paths_in_order(root: int, pattern: str, expected: list[str]) -> None:
    assert [node.path for node in Tree(root).glob(pattern, is_deep=True)] == expected


def test_two_stars_are_one_unless_asked_for(root: int) -> None:
    assert [node.path for node in Tree(root).glob("**/c.txt")] == ["e/c.txt"]


def test_a_walk_is_depth_first_and_sorted(root: int) -> None:
    tree = Tree(root)

    visits = [(visit.path, visit.name) for visit in tree.walk(tree.root)]

    assert [path for path, _ in visits] == [
        "a",
        "a/b",
        "a/b/c.txt",
        "a/d.txt",
        "a-b",
        "e",
        "e/c.txt",
        *["in", "loop", "out", "r[1]", "up"],
    ]
    assert all(path.endswith(name) for path, name in visits)


def test_a_visit_lends_its_directory(root: int) -> None:
    tree = Tree(root)

    inodes = [
        os.stat(visit.name, dir_fd=visit.dir_fd, follow_symlinks=False).st_ino
        == visit.status.st_ino
        for visit in tree.walk(tree.root)
    ]

    assert inodes == [True] * len(FILES)


def test_hidden_directories_appear_with_what_is_shown_in_them(root: int) -> None:
    tree = Tree(root, ignore=Patterns(("*", "!a/b/c.txt")))

    assert [visit.path for visit in tree.walk(tree.root)] == ["a", "a/b", "a/b/c.txt"]
    assert path_of(tree.find("a/b")) == "a/b"
    assert [tree.find(path) for path in ("e", "a/d.txt", "in")] == [None] * 3
    assert [node.path for node in tree.glob("*")] == ["a"]


def test_a_matcher_may_be_seen_from_below(root: int) -> None:
    tree = Tree(root)
    top = tree.find("a")
    assert top is not None

    shown = [visit.path for visit in tree.walk(top, Below(Patterns(("a/b",)), "a"))]

    assert shown == ["a/d.txt"]


def test_a_tree_is_listed_once(root: int, tmp_path: Path) -> None:
    tree = Tree(root)
    before = [visit.path for visit in tree.walk(tree.root)]

    (tmp_path / "a/new").touch()

    assert [visit.path for visit in tree.walk(tree.root)] == before
