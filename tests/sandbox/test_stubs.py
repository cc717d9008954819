import os
from collections.abc import Callable
from typing import Any

import pytest

from builder.sandbox.spec import Bind, FileMount, Stub, Tmpfs
from builder.sandbox.stubs import remove_stubs

pytestmark = pytest.mark.namespaces


def _remove(tree: Any, stubs: tuple[Stub, ...], *kept: str) -> None:
    fd = os.open(tree.upper, os.O_RDONLY)
    remove_stubs(fd, stubs, frozenset(kept))
    os.close(fd)


def test_made_mount_points_are_reported_and_removed(run: Callable[..., Any], tree: Any) -> None:
    mounts = (FileMount("/run/secrets/token", b"x"), Bind("/cache", str(tree.base)))

    outcome = run("touch /cache-not", mounts=mounts)
    _remove(tree, outcome.stubs)

    assert {stub.path for stub in outcome.stubs} == {
        "run",
        "run/secrets",
        "run/secrets/token",
        "cache",
    }
    assert os.listdir(tree.upper) == ["cache-not"]


def test_parents_get_their_times_back(run: Callable[..., Any], tree: Any) -> None:
    etc = tree.lower / "etc"
    os.utime(etc, ns=(10**18, 10**18))

    outcome = run("true", mounts=(FileMount("/etc/hosts", b""), FileMount("/etc/resolv.conf", b"")))
    _remove(tree, outcome.stubs)

    assert (tree.upper / "etc").stat().st_mtime_ns == 10**18
    assert os.listdir(tree.upper / "etc") == []


def test_mount_points_that_are_kept_do_not_tell_when_they_were_made(
    run: Callable[..., Any], tree: Any
) -> None:
    mounts = (Tmpfs("/gone"), Tmpfs("/stays"), Tmpfs("/too"))

    outcome = run("true", mounts=mounts)
    _remove(tree, outcome.stubs, "stays", "too")

    first = outcome.stubs[0].parent_before_ns
    assert {entry.name: entry.stat().st_mtime_ns for entry in tree.upper.iterdir()} == {
        "stays": first,
        "too": first,
    }
    assert tree.upper.stat().st_mtime_ns == first


def test_a_changed_parent_keeps_its_new_time(run: Callable[..., Any], tree: Any) -> None:
    os.utime(tree.lower / "etc", ns=(10**18, 10**18))

    outcome = run("touch /etc/new", mounts=(FileMount("/etc/hosts", b""),))
    _remove(tree, outcome.stubs)

    assert (tree.upper / "etc").stat().st_mtime_ns != 10**18
    assert os.listdir(tree.upper / "etc") == ["new"]


def test_mount_points_of_the_image_stay(run: Callable[..., Any], tree: Any) -> None:
    (tree.lower / "etc/hosts").write_text("image's own")

    outcome = run("true", mounts=(FileMount("/etc/hosts", b""),))

    assert outcome.stubs == ()
    assert (tree.lower / "etc/hosts").read_text() == "image's own"


def test_what_is_not_empty_stays(tree: Any) -> None:
    (tree.upper / "d").mkdir()
    (tree.upper / "d/f").touch()
    (tree.upper / "full").write_text("x")
    stubs = []
    for name in ("d", "full"):
        status = (tree.upper / name).stat()
        stubs.append(Stub(name, status.st_dev, status.st_ino, name == "d", 0, 0))

    _remove(tree, tuple(stubs))

    assert sorted(os.listdir(tree.upper)) == ["d", "full"]


def test_a_link_in_the_place_of_a_parent_is_not_followed(
    run: Callable[..., Any], tree: Any
) -> None:
    outside = tree.base / "outside"
    (outside / "sub").mkdir(parents=True)
    (outside / "sub/token").touch()
    script = f"mv /run /run2; ln -s {outside} /run; ln -s /x /run2/new; true"

    outcome = run(script, mounts=(FileMount("/run/sub/token", b""),))
    _remove(tree, outcome.stubs)

    assert (outside / "sub/token").exists()


def test_a_file_of_another_inode_stays(tree: Any) -> None:
    (tree.upper / "f").touch()
    status = (tree.upper / "f").stat()

    _remove(
        tree,
        (
            Stub(
                "f",
                status.st_dev,
                status.st_ino + 1,
                is_directory=False,
                parent_before_ns=0,
                parent_after_ns=0,
            ),
        ),
    )

    assert (tree.upper / "f").exists()


def test_targets_through_dangling_links_are_made_inside(run: Callable[..., Any], tree: Any) -> None:
    (tree.lower / "var").mkdir()
    (tree.lower / "var/run").symlink_to("/run")
    (tree.lower / "etc/resolv.conf").symlink_to("../run/resolve/stub.conf")
    mounts = (Tmpfs("/var/run/secrets"), FileMount("/etc/resolv.conf", b"nameserver ::1"))

    outcome = run("cat /run/resolve/stub.conf; ls -d /run/secrets", mounts=mounts)
    _remove(tree, outcome.stubs)

    assert (outcome.out, outcome.err) == ("nameserver ::1/run/secrets\n", "")
    assert not (tree.upper / "run").exists()


@pytest.mark.parametrize("link", ["a", "b/x", "/a/../a"])
def test_looping_links_are_an_error(run: Callable[..., Any], tree: Any, link: str) -> None:
    (tree.lower / "a").symlink_to(link)
    (tree.lower / "b").symlink_to("/a/y")

    assert run("true", mounts=(Tmpfs("/a/t"),)).error_status == 125
