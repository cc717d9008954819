"""Trees: compared, laid over each other, and copied, for the snapshotter without overlayfs."""

import os
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.store.comparing import compare
from builder.store.merging import merge
from builder.store.replicate import replicate

pytestmark = pytest.mark.root

Entry = tuple[str, str, int]
"""Kind, content, mode."""

names = st.sampled_from(["a", "b", "c", "a/x", "a/y", "b/x", "a/x/deep", "b/x/deep"])
entries = st.tuples(
    st.sampled_from(["file", "directory", "link", "fifo"]),
    st.sampled_from(["1", "2", "longer"]),
    st.sampled_from([0o644, 0o755, 0o4711]),
)
trees = st.dictionaries(names, entries, max_size=8)


def build(root: Path, tree: dict[str, Entry]) -> None:
    """Make a tree; entries below what is no directory are left out. All times are equal."""
    root.mkdir()
    for name, (kind, content, mode) in sorted(tree.items()):
        path = root / name
        above = [parent for parent in path.parents if parent.is_relative_to(root)]
        if any(os.path.lexists(p) and (p.is_symlink() or not p.is_dir()) for p in above):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "file":
            path.write_text(content)
        elif kind == "link":
            path.symlink_to(content)
        elif kind == "fifo":
            os.mkfifo(path)
        else:
            path.mkdir(exist_ok=True)
        if kind != "link":
            path.chmod(mode)
    for path in (root, *root.rglob("*")):
        os.utime(path, (1000, 1000), follow_symlinks=False)


def described(root: Path) -> dict[str, tuple[object, ...]]:
    """List everything that two equal trees agree in."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        content: object = None
        if S_ISREG(status.st_mode):
            content = path.read_bytes()
        elif S_ISLNK(status.st_mode):
            content = os.readlink(path)
        kind = S_ISDIR(status.st_mode), S_ISREG(status.st_mode)
        found[str(path.relative_to(root))] = (
            kind, S_IMODE(status.st_mode), status.st_uid, status.st_mtime_ns, content,
        )  # fmt: skip
    return found


@settings(max_examples=60, deadline=None)
@given(old=trees, new=trees)
def test_changes_laid_over_the_old_tree_give_the_new(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, Entry], new: dict[str, Entry]
) -> None:
    base = tmp_path_factory.mktemp("trees")
    build(base / "old", old)
    build(base / "new", new)
    for name in ("diff", "result"):
        (base / name).mkdir()

    compare(str(base / "old"), str(base / "new"), str(base / "diff"), userxattr=False)
    merge(str(base / "old"), str(base / "result"), userxattr=False)
    merge(str(base / "diff"), str(base / "result"), userxattr=False)

    assert described(base / "result") == described(base / "new")


@settings(max_examples=40, deadline=None)
@given(tree=trees)
def test_a_copy_is_equal_and_has_no_changes(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, Entry]
) -> None:
    base = tmp_path_factory.mktemp("trees")
    build(base / "old", tree)
    for name in ("copy", "diff"):
        (base / name).mkdir()

    replicate(str(base / "old"), str(base / "copy"))
    compare(str(base / "old"), str(base / "copy"), str(base / "diff"), userxattr=False)

    assert described(base / "copy") == described(base / "old")
    assert os.listdir(base / "diff") == []


def test_equal_metadata_does_not_hide_other_bytes(tmp_path: Path) -> None:
    build(tmp_path / "old", {"f": ("file", "1", 0o644)})
    build(tmp_path / "new", {"f": ("file", "2", 0o644)})
    (tmp_path / "diff").mkdir()

    compare(*(str(tmp_path / name) for name in ("old", "new", "diff")), userxattr=False)

    assert (tmp_path / "diff/f").read_text() == "2"


def test_changed_attributes_are_a_change(tmp_path: Path) -> None:
    for name in ("old", "new"):
        build(tmp_path / name, {"f": ("file", "1", 0o644), "d": ("directory", "", 0o755)})
    os.setxattr(tmp_path / "new/f", "user.note", b"1")
    os.setxattr(tmp_path / "new/d", "user.note", b"1")
    (tmp_path / "diff").mkdir()

    compare(*(str(tmp_path / name) for name in ("old", "new", "diff")), userxattr=False)

    assert sorted(os.listdir(tmp_path / "diff")) == ["d", "f"]
    assert os.getxattr(tmp_path / "diff/d", "user.note") == b"1"


def test_an_opaque_directory_hides_what_is_below(tmp_path: Path) -> None:
    build(tmp_path / "tree", {"d/old": ("file", "1", 0o644)})
    build(tmp_path / "diff", {"d/new": ("file", "1", 0o644)})
    os.setxattr(tmp_path / "diff/d", "trusted.overlay.opaque", b"y")

    merge(str(tmp_path / "diff"), str(tmp_path / "tree"), userxattr=False)

    assert os.listdir(tmp_path / "tree/d") == ["new"]
    assert not os.listxattr(tmp_path / "tree/d")


def test_whiteouts_of_a_user_namespace_delete(tmp_path: Path) -> None:
    build(tmp_path / "tree", {"gone": ("file", "1", 0o644), "kept": ("file", "1", 0o644)})
    build(tmp_path / "diff", {"gone": ("file", "", 0o644)})
    os.setxattr(tmp_path / "diff/gone", "user.overlay.whiteout", b"y")
    os.truncate(tmp_path / "diff/gone", 0)

    merge(str(tmp_path / "diff"), str(tmp_path / "tree"), userxattr=True)

    assert os.listdir(tmp_path / "tree") == ["kept"]


def test_hard_links_are_copied_as_links(tmp_path: Path) -> None:
    build(tmp_path / "old", {"a/x": ("file", "1", 0o644)})
    os.link(tmp_path / "old/a/x", tmp_path / "old/b")
    (tmp_path / "copy").mkdir()

    replicate(str(tmp_path / "old"), str(tmp_path / "copy"))

    first, second = (tmp_path / "copy/a/x").stat(), (tmp_path / "copy/b").stat()
    assert first.st_ino == second.st_ino
    assert first.st_nlink == 2
