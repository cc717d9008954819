import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.graph.ops import Copy, Owner
from builder.graph.vertex import Selector
from builder.layers.copy import copy
from builder.layers.made import Made
from builder.layers.reuse import Earlier, Lowers
from tests.layers.matcher import context, stage

MTIME_NS = 1_500_000_000_000_000_000


class Place:
    """A source, and roots to copy it into, each its own upper directory."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.source = base / "source"
        self.source.mkdir()
        self.made = Made()
        self.top = self.source

    def write(self, name: str, text: str) -> None:
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o644)
        os.utime(path, ns=(MTIME_NS, MTIME_NS))

    def copy(self, name: str, **fields: object) -> Path:
        """Copy all, reusing what the last copy made."""
        root = self.base / name
        root.mkdir()
        fd = os.open(root, os.O_RDONLY)
        action = Copy(0, "/", "/app/")._replace(**fields)  # type: ignore[arg-type]
        with context(self.source) as tree:
            tree.digest(Selector("/"))
            known = (str(self.top),) if self.made.records else ()
            earlier = Earlier(tree, known, self.made)
            copy(action, tree, fd, upper=str(root), reuse=earlier)
            earlier.close()
        os.close(fd)
        self.made = Made(earlier.made.packed())
        self.top = root / earlier.top
        return root / "app"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def same(left: Path, right: Path) -> bool:
    return os.path.samestat(left.lstat(), right.lstat())


def test_only_what_changed_is_copied(place: Place) -> None:
    for name in ("a", "d/b", "d/e/c"):
        place.write(name, name)
    first = place.copy("first")
    place.write("d/b", "other")

    second = place.copy("second")

    assert same(first / "a", second / "a")
    assert same(first / "d/e/c", second / "d/e/c")
    assert (first / "d/b").read_text() == "d/b"
    assert (second / "d/b").read_text() == "other"


def test_a_file_of_another_mode_or_time_is_copied(place: Place) -> None:
    place.write("a", "x")
    place.write("b", "x")
    first = place.copy("first")
    os.utime(place.source / "a", ns=(1, 10**9))
    (place.source / "b").chmod(0o755)

    second = place.copy("second")

    assert not same(first / "a", second / "a")
    assert (second / "a").stat().st_mtime_ns == 10**9
    assert not same(first / "b", second / "b")
    assert (second / "b").stat().st_mode & 0o777 == 0o755
    assert (first / "b").stat().st_mode & 0o777 == 0o644


def test_files_that_are_one_stay_one_and_others_stay_apart(place: Place) -> None:
    place.write("a", "x")
    place.write("d/b", "x")
    os.link(place.source / "a", place.source / "d/link")
    place.copy("first")

    second = place.copy("second")

    assert same(second / "a", second / "d/link")
    assert not same(second / "a", second / "d/b")


@pytest.mark.root
def test_another_owner_is_no_reason_to_touch_the_first(place: Place) -> None:
    place.write("a", "x")
    first = place.copy("first", owner=Owner("1"))

    second = place.copy("second", owner=Owner("2"))

    assert (first / "a").stat().st_uid == 1
    assert (second / "a").stat().st_uid == 2


NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1)
RECORDS = st.dictionaries(NAMES, st.binary(min_size=52, max_size=52))


@given(st.dictionaries(NAMES, RECORDS))
@settings(max_examples=50)
def test_what_was_made_is_read_as_it_was_written(folders: dict[str, dict[str, bytes]]) -> None:
    made = Made()
    for directory, records in folders.items():
        made.add(directory, b"state", records)
    again = Made(made.packed())

    flat = {f"{d}/{name}": record for d, rows in folders.items() for name, record in rows.items()}
    assert again.records == made.records == flat
    assert again.folders == made.folders
    assert again.count == len(flat)


def test_what_was_damaged_counts_as_nothing() -> None:
    for content in (b"", b"x", b"5\nab", b"2\nabc", b"-1\n"):
        assert Made(content).records == {}


def test_a_stage_is_linked_from_its_topmost_layer(place: Place) -> None:
    lower, upper, root = (place.base / name for name in ("lower", "upper", "root"))
    for directory, text in ((lower, "old"), (upper, "new"), (root, "")):
        directory.mkdir()
        if text:
            (directory / "a").write_text(text)
    (lower / "b").write_text("b")
    for name in ("a", "b"):
        os.link((upper if name == "a" else lower) / name, place.source / name)

    lowers = Lowers([(str(upper), False), (str(lower), True)])
    fd = os.open(root, os.O_RDONLY)
    with stage(place.source) as tree:
        action = Copy(0, "/", "/app/", is_context=False)
        copy(action, tree, fd, upper=str(root), reuse=lowers)
    os.close(fd)
    lowers.close()

    assert same(root / "app/b", lower / "b")
    assert not same(root / "app/a", upper / "a")
    assert (root / "app/a").read_text() == "new"
    assert lowers.used == {1}
