import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import KernelError
from builder.kernel import paths
from builder.kernel.trees import remove_tree


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("host")
    fd = os.open(tmp_path / "root", os.O_RDONLY)
    yield fd
    os.close(fd)


def read(root: int, path: str) -> bytes | None:
    return paths.read_small_file(root, path, limit=100)


def test_links_are_followed_inside_the_root(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir()
    (tmp_path / "root/secret").write_text("image")
    (tmp_path / "root/etc/absolute").symlink_to("/secret")
    (tmp_path / "root/etc/up").symlink_to("../../../../secret")

    contents = [read(root, name) for name in ("etc/absolute", "/etc/up", "../secret", "//secret")]

    assert contents == [b"image"] * 4


def test_a_magic_link_is_refused() -> None:
    proc = os.open("/proc", os.O_RDONLY)
    with pytest.raises(KernelError):
        paths.open_in_root(proc, "self/root/etc")
    os.close(proc)


def test_nofollow_opens_the_link_itself(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/link").symlink_to("nowhere")

    fd = paths.open_nofollow(root, "link/")

    assert os.readlink("", dir_fd=fd) == "nowhere"
    os.close(fd)


def test_the_parent_of_a_path_is_resolved_but_not_its_last_component(
    root: int, tmp_path: Path
) -> None:
    (tmp_path / "root/real").mkdir()
    (tmp_path / "root/link").symlink_to("/real")

    fd, name = paths.open_parent(root, "/link/file/")

    assert name == "file"
    assert os.fstat(fd).st_ino == (tmp_path / "root/real").stat().st_ino
    os.close(fd)


@pytest.mark.parametrize("path", ["", "/", ".", "a/..", "a/.", "a\0b"])
def test_a_path_without_a_last_name_has_no_parent(root: int, path: str) -> None:
    with pytest.raises(KernelError):
        paths.open_parent(root, path)


def test_missing_directories_are_made_with_exact_mode_and_owner(root: int, tmp_path: Path) -> None:
    fd = paths.make_dirs(root, "/a/b/../c", mode_bits=0o2775)
    os.close(fd)

    made = (tmp_path / "root/a/c").stat()
    assert (made.st_mode & 0o7777, made.st_uid) == (0o2775, os.getuid())
    assert (tmp_path / "root/a/b").is_dir()


def test_directories_are_made_where_a_dangling_link_points(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/link").symlink_to("/target/deep")

    os.close(paths.make_dirs(root, "link/x"))

    assert (tmp_path / "root/target/deep/x").is_dir()


def test_a_link_out_of_the_root_makes_directories_inside(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/link").symlink_to("../../../outside")

    os.close(paths.make_dirs(root, "link/x"))

    assert (tmp_path / "root/outside/x").is_dir()
    assert not (tmp_path / "outside").exists()


def test_a_file_in_the_way_is_an_error(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/file").write_text("")

    with pytest.raises(KernelError, match="Not a directory"):
        paths.make_dirs(root, "file/x")


def test_a_loop_of_links_is_an_error(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/a").symlink_to("b")
    (tmp_path / "root/b").symlink_to("a")

    with pytest.raises(KernelError, match="Too many levels"):
        paths.make_dirs(root, "a/x")
    with pytest.raises(KernelError, match="Too many levels"):
        paths.open_by_walk(root, "a")


def test_a_fifo_a_device_and_a_large_file_are_not_read(root: int, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "root/fifo")
    (tmp_path / "root/zero").symlink_to("/dev/zero")
    (tmp_path / "root/large").write_bytes(b"x" * 101)

    assert [read(root, name) for name in ("fifo", "zero", "large", "absent")] == [None] * 4


def test_a_path_longer_than_the_kernel_takes_is_walked(root: int) -> None:
    deep = "/".join(["d" * 100] * 60)

    os.close(paths.make_dirs(root, deep))

    assert len(deep) > 4096
    assert paths.exists(root, deep)
    remove_tree(root, "d" * 100)


def test_a_renamed_directory_never_lets_a_walk_out(root: int, tmp_path: Path) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/hold").mkdir()
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(tmp_path / "root/a/b", tmp_path / "root/hold/b")
            os.rename(tmp_path / "root/hold/b", tmp_path / "root/a/b")

    thread = threading.Thread(target=swap)
    thread.start()
    for _ in range(300):
        assert read(root, "a/b/../../../../../secret") is None
        try:
            os.close(paths.open_by_walk(root, "a/b/../../../../../secret"))
        except KernelError:
            continue
        pytest.fail("the walk left the root")
    stop.set()
    thread.join()


names = st.sampled_from(["a", "b", "c", "..", "."])
path_texts = st.lists(names, min_size=1, max_size=5).map("/".join)
trees = st.lists(
    st.tuples(st.sampled_from(["dir", "file", "link"]), path_texts, path_texts, st.booleans()),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(trees, path_texts, st.booleans(), st.booleans())
def test_the_walk_agrees_with_the_kernel(
    tmp_path_factory: pytest.TempPathFactory,
    tree: list[tuple[str, str, str, bool]],
    path: str,
    is_following: bool,  # noqa: FBT001
    is_directory: bool,  # noqa: FBT001
) -> None:
    base = tmp_path_factory.mktemp("walk")
    root_fd = os.open(base, os.O_RDONLY)
    for kind, where, target, is_absolute in tree:
        make(root_fd, kind, where, "/" * is_absolute + target)
    text = path + "/" * is_directory
    flags = os.O_PATH | (0 if is_following else os.O_NOFOLLOW)

    expected = outcome(paths.open_in_root, root_fd, text, flags)
    walked = outcome(paths.open_by_walk, root_fd, text, flags)

    os.close(root_fd)
    assert walked == expected


def make(root_fd: int, kind: str, where: str, target: str) -> None:
    try:
        parent, name = paths.open_parent(root_fd, where)
    except KernelError:
        return
    try:
        if kind == "dir":
            os.mkdir(name, dir_fd=parent)
        elif kind == "link":
            os.symlink(target, name, dir_fd=parent)
        else:
            os.close(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, dir_fd=parent))
    except OSError:
        pass
    finally:
        os.close(parent)


def outcome(opener: object, root_fd: int, path: str, flags: int) -> tuple[str, int]:
    assert callable(opener)
    try:
        fd = opener(root_fd, path, flags)
    except KernelError as error:
        return "error", error.errno
    status = os.fstat(fd)
    os.close(fd)
    return "inode", status.st_ino
