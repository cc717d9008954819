import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builder.executors.identity import Identities
from builder.kernel.ids import Identity
from builder.store.snapshotter import Snapshot
from builder.store.store import Store

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:7:8::/home/app:/bin/sh\n"


class View:
    """The merged tree of the layers, made by the test; counts how often it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened = 0

    @contextmanager
    def __call__(self) -> Iterator[int]:
        self.opened += 1
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        yield fd
        os.close(fd)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "state")) as opened:
        yield opened


@pytest.fixture
def view(tmp_path: Path) -> View:
    etc = tmp_path / "view" / "etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_text(PASSWD)
    (etc / "group").write_text("app:x:8:\n")
    return View(tmp_path / "view")


def snapshot(store: Store, parent: Snapshot | None, change: Callable[[Path], object]) -> Snapshot:
    active = store.snapshots.prepare_diff(parent)
    change(Path(active.upper))
    return store.snapshots.commit(active)


def with_files(diff: Path) -> None:
    (diff / "etc").mkdir()
    (diff / "etc/passwd").write_text(PASSWD)
    (diff / "etc/group").write_text("")


def nothing(_diff: Path) -> None:
    pass


def another_file_in_etc(diff: Path) -> None:
    (diff / "etc").mkdir()
    (diff / "etc/motd").write_text("hello")


def hidden_passwd(diff: Path) -> None:
    (diff / "etc").mkdir()
    os.mknod(diff / "etc/passwd", stat.S_IFCHR, os.makedev(0, 0))


def new_group(diff: Path) -> None:
    (diff / "etc").mkdir()
    (diff / "etc/group").write_text("app:x:8:app\n")


def hidden_etc(diff: Path) -> None:
    os.mknod(diff / "etc", stat.S_IFCHR, os.makedev(0, 0))


def link_in_place_of_etc(diff: Path) -> None:
    (diff / "etc").symlink_to("other")


def etc_made_anew(diff: Path) -> None:
    (diff / "etc").mkdir()
    os.setxattr(diff / "etc", "trusted.overlay.opaque", b"y")


@pytest.mark.parametrize("change", [nothing, another_file_in_etc])
def test_a_layer_that_cannot_change_users_needs_no_second_look(
    store: Store, view: View, change: Callable[[Path], None]
) -> None:
    base = snapshot(store, None, with_files)
    first = Identities(store).find("app", (base,), view)

    second = Identities(store).find("app", (base, snapshot(store, base, change)), view)

    assert first == second == Identity(7, 8, (), "/home/app", "app")
    assert view.opened == 1


@pytest.mark.root
@pytest.mark.parametrize(
    "change", [hidden_passwd, new_group, hidden_etc, link_in_place_of_etc, etc_made_anew]
)
def test_a_layer_that_may_change_users_is_looked_at(
    store: Store, view: View, change: Callable[[Path], None]
) -> None:
    base = snapshot(store, None, with_files)
    Identities(store).find("app", (base,), view)
    (view.path / "etc/passwd").write_text(PASSWD.replace(":7:", ":9:"))

    found = Identities(store).find("app", (base, snapshot(store, base, change)), view)

    assert found.uid == 9


def test_files_behind_links_are_looked_at_every_time(store: Store, view: View) -> None:
    base = snapshot(store, None, with_files)
    (view.path / "etc/passwd").rename(view.path / "elsewhere")
    (view.path / "etc/passwd").symlink_to("../elsewhere")
    Identities(store).find("app", (base,), view)
    (view.path / "elsewhere").write_text(PASSWD.replace(":7:", ":9:"))

    found = Identities(store).find("app", (base,), view)

    assert found.uid == 9
