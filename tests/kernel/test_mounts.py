import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from builder.errors import KernelError
from builder.kernel import mounts, namespaces, syscalls

pytestmark = pytest.mark.root


@pytest.fixture
def inside() -> Callable[[Callable[[], Any]], Any]:
    """Call in a child with a mount table of its own."""

    def call(function: Callable[[], Any]) -> Any:
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            text = "'the process failed'"
            try:
                namespaces.enter()
                text = repr(function())
            except BaseException as error:  # noqa: BLE001 - the process boundary
                text = repr(f"{error!r}")
            finally:
                os.write(write_fd, text.encode())
                os._exit(0)
        os.close(write_fd)
        with open(read_fd) as file:
            text = file.read()
        os.waitpid(pid, 0)
        return eval(text, {"__builtins__": {}})

    return call


def _layers(base: Path, count: int, *, name: str = "layer") -> tuple[str, ...]:
    """Make layers, top first, that each hold a file of their number and one common to all."""
    layers = []
    for number in reversed(range(count)):
        layer = base / f"{name}{number:04}" / "diff"
        layer.mkdir(parents=True)
        (layer / f"f{number}").touch()
        (layer / "common").write_text(str(number))
        layers.append(str(layer))
    return tuple(layers)


@pytest.mark.parametrize("count", [1, 2, 60, 300])
@pytest.mark.parametrize("name", ["layer", "with:colon,comma\\", "long" * 30])
def test_any_number_of_layers_is_mounted(
    tmp_path: Path, inside: Callable[..., Any], count: int, name: str
) -> None:
    lowers = _layers(tmp_path, count, name=name)
    for directory in ("upper", "work", "target"):
        (tmp_path / directory).mkdir()

    def body() -> Any:
        before = os.getcwd()
        upper, work = str(tmp_path / "upper"), str(tmp_path / "work")
        mounts.mount_overlay(str(tmp_path / "target"), lowers, upper, work)
        names = os.listdir(tmp_path / "target")
        top = (tmp_path / "target/common").read_text()
        (tmp_path / "target/new").touch()
        return len(names), top, os.listdir(tmp_path / "upper"), os.getcwd() == before

    assert inside(body) == (count + 1, str(count - 1), ["new"], True)
    assert [path for path in os.listdir("/tmp") if path.startswith(".builder-overlay")] == []


@pytest.mark.parametrize("count", [1, 2, 200])
@pytest.mark.parametrize("name", ["layer", "co:lon", "long" * 50])
def test_a_stack_can_be_read_without_a_place(
    tmp_path: Path, inside: Callable[..., Any], count: int, name: str
) -> None:
    lowers = _layers(tmp_path, count, name=name)

    def body() -> Any:
        table = Path("/proc/self/mountinfo").read_text()
        with mounts.mounted_overlay(lowers) as fd:
            names = os.listdir(fd)
            common = os.open("common", os.O_RDONLY, dir_fd=fd)
            top = os.read(common, 10)
            same = Path("/proc/self/mountinfo").read_text() == table
        return len(names), top, same

    assert inside(body) == (count + 1, str(count - 1).encode(), True)


def test_a_stack_can_be_written_without_a_place(tmp_path: Path, inside: Callable[..., Any]) -> None:
    lowers = _layers(tmp_path, 2)
    for directory in ("upper", "work"):
        (tmp_path / directory).mkdir()

    def body() -> Any:
        upper, work = str(tmp_path / "upper"), str(tmp_path / "work")
        with mounts.mounted_overlay(lowers, upper, work) as fd:
            os.unlink("common", dir_fd=fd)
            os.mkdir("d", dir_fd=fd)
        return sorted(os.listdir(upper))

    assert inside(body) == ["common", "d"]


def test_several_stacks_are_mounted_by_threads_at_once(
    tmp_path: Path, inside: Callable[..., Any]
) -> None:
    import threading

    lowers = _layers(tmp_path, 250, name="n" * 100)

    def body() -> Any:
        counts: list[int] = []

        def one() -> None:
            with mounts.mounted_overlay(lowers) as fd:
                counts.append(len(os.listdir(fd)))

        threads = [threading.Thread(target=one) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return counts

    assert inside(body) == [251] * 6


def test_an_upper_alone_is_the_stack(tmp_path: Path, inside: Callable[..., Any]) -> None:
    (tmp_path / "upper").mkdir()
    (tmp_path / "target").mkdir()

    def body() -> Any:
        mounts.mount_overlay(str(tmp_path / "target"), (), str(tmp_path / "upper"))
        (tmp_path / "target/x").touch()
        return os.listdir(tmp_path / "upper")

    assert inside(body) == ["x"]


def test_a_single_lower_is_read_only(tmp_path: Path, inside: Callable[..., Any]) -> None:
    (tmp_path / "target").mkdir()
    lowers = _layers(tmp_path, 1)

    def body() -> Any:
        mounts.mount_overlay(str(tmp_path / "target"), lowers)
        try:
            (tmp_path / "target/x").touch()
        except OSError as error:
            return error.errno
        return None

    assert inside(body) == 30


def test_a_missing_layer_is_an_error(tmp_path: Path, inside: Callable[..., Any]) -> None:
    def body() -> Any:
        try:
            with mounts.mounted_overlay((str(tmp_path / "no"), str(tmp_path))):
                return None
        except KernelError as error:
            return error.errno

    assert inside(body) == 2


@pytest.mark.parametrize("is_old", [False, True])
def test_attributes_are_added_to_a_bind(
    tmp_path: Path, inside: Callable[..., Any], *, is_old: bool
) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()

    def body() -> Any:
        with ExitStack() as stack:
            fds = [os.open(tmp_path / name, os.O_PATH) for name in ("source", "target")]
            for fd in fds:
                stack.callback(os.close, fd)
            attributes = mounts.MS_RDONLY | mounts.MS_NODEV
            if is_old:
                mounts._bind_by_path(fds[0], fds[1], attributes, is_recursive=True)
            else:
                mounts.bind(fds[0], fds[1], attributes=attributes)
        line = next(
            line for line in Path("/proc/self/mounts").read_text().splitlines() if "target" in line
        )
        return sorted({"ro", "nodev", "rw"} & set(line.split()[3].split(",")))

    assert inside(body) == ["nodev", "ro"]


def test_attributes_reach_the_mounts_below(tmp_path: Path, inside: Callable[..., Any]) -> None:
    (tmp_path / "source/below").mkdir(parents=True)
    (tmp_path / "target").mkdir()

    def body() -> Any:
        mounts.Mount("tmpfs", str(tmp_path / "source/below"), "tmpfs").attach()
        fds = [os.open(tmp_path / name, os.O_PATH) for name in ("source", "target")]
        mounts.bind(fds[0], fds[1], attributes=mounts.MS_RDONLY)
        try:
            (tmp_path / "target/below/x").touch()
        except OSError as error:
            return error.errno
        return None

    assert inside(body) == 30


def test_marks_of_redirects_are_not_followed(tmp_path: Path, inside: Callable[..., Any]) -> None:
    lowers = _layers(tmp_path, 2)
    hidden = Path(lowers[1]) / "hidden"
    hidden.mkdir()
    (hidden / "file").touch()
    shown = Path(lowers[0]) / "shown"
    shown.mkdir()
    os.setxattr(shown, "trusted.overlay.redirect", b"/hidden")

    def body() -> Any:
        with mounts.mounted_overlay(lowers) as fd:
            try:
                return os.listdir(f"/proc/self/fd/{fd}/shown")
            except OSError as error:
                return [error.errno]

    assert "file" not in inside(body)


def test_options_escape_what_the_kernel_would_split() -> None:
    options = mounts.overlay_options(("/a:b", "/c,d"), "/e\\f", "/w", extra=("volatile",))

    assert options.startswith("lowerdir=/a\\:b:/c\\,d,upperdir=/e\\\\f,workdir=/w,")
    assert options.endswith(",volatile")


def test_the_type_of_a_file_system_is_known() -> None:
    fd = os.open("/proc", os.O_PATH)

    kind = syscalls.filesystem_type(fd)
    os.close(fd)

    assert kind == 0x9FA0
