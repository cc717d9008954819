import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.sandbox.rootfs import is_below_proc
from builder.sandbox.spec import Bind, Device, Directory, FileMount, Overlay, OverlayMount, Tmpfs

pytestmark = pytest.mark.namespaces


def test_writes_land_in_the_upper_directory(inside: Callable[..., Any], tree: Any) -> None:
    outcome = inside(lambda engine: engine.run(engine.sh("echo new > /etc/new; rm /bin/yes")))

    assert outcome[0] == 0
    assert (tree.upper / "etc/new").read_text() == "new\n"
    assert os.stat(tree.upper / "bin/yes", follow_symlinks=False).st_rdev == 0


def test_two_hundred_layers_are_stacked_top_first(inside: Callable[..., Any], tree: Any) -> None:
    layers = []
    for number in range(200):
        layer = tree.base / "a directory with a rather long name" / f"{number:032}" / "diff"
        layer.mkdir(parents=True)
        (layer / f"f{number}").touch()
        (layer / "top").write_text(str(number))
        layers.append(str(layer))
    layers.reverse()

    def body(engine: Any) -> Any:
        root = Overlay(
            (*layers, str(tree.lower)),
            str(tree.upper),
            str(tree.work),
            userxattr=engine.privileges.userxattr,
        )
        return engine.run(engine.sh("ls / | grep -c ^f; cat /top", root=root))

    assert inside(body)[2] == "200\n199"


def test_a_root_may_have_no_lower_layer(inside: Callable[..., Any], tree: Any) -> None:
    def body(engine: Any) -> Any:
        root = Overlay((), str(tree.lower))
        return engine.run(engine.sh("touch /x; ls -d /etc /x", root=root))

    outcome = inside(body)

    assert outcome[2] == "/etc\n/x\n"
    assert (tree.lower / "x").exists()


def test_a_root_may_be_a_plain_directory(inside: Callable[..., Any], tree: Any) -> None:
    def body(engine: Any) -> Any:
        return engine.run(engine.sh("touch /x; ls / | grep x", root=Directory(str(tree.lower))))

    assert inside(body)[2] == "x\n"
    assert (tree.lower / "x").exists()


def test_a_volatile_root_works(inside: Callable[..., Any], tree: Any) -> None:
    def body(engine: Any) -> Any:
        root = engine.tree.overlay(userxattr=engine.privileges.userxattr)
        return engine.run(engine.sh("sync; echo ok > /ok", root=root._replace(is_volatile=True)))

    assert inside(body)[0] == 0
    assert (tree.upper / "ok").exists()


def test_a_bind_shows_a_directory_and_may_be_read_only(run: Callable[..., Any], tree: Any) -> None:
    source = tree.base / "source"
    source.mkdir()
    (source / "file").write_text("content\n")
    binds = (Bind("/rw", str(source)), Bind("/ro", str(source), is_read_only=True))

    outcome = run("cat /ro/file; echo x > /rw/new; echo x > /ro/new2", mounts=binds)

    assert outcome.out == "content\n"
    assert "Read-only" in outcome.err
    assert sorted(os.listdir(source)) == ["file", "new"]


def test_a_bind_below_its_source_never_leaves_it(run: Callable[..., Any], tree: Any) -> None:
    source = tree.base / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub/inside").touch()
    (tree.base / "secret").write_text("secret")
    (source / "up").symlink_to("../../../../../../" + str(tree.base))
    (source / "abs").symlink_to("/sub")

    good = run("ls /m", mounts=(Bind("/m", str(source), "abs"),))
    bad = run("ls /m", mounts=(Bind("/m", str(source), "up/secret"),))
    dotted = run("ls /m", mounts=(Bind("/m", str(source), "../secret"),))

    assert good.out == "inside\n"
    assert (bad.error_status, dotted.error_status) == (125, 125)


def test_a_bind_may_come_by_descriptor(inside: Callable[..., Any], tree: Any) -> None:
    (tree.base / "file").write_text("by fd")

    def body(engine: Any) -> Any:
        fd = os.open(tree.base / "file", os.O_PATH)
        spec = engine.sh("cat /f", mounts=(Bind("/f", 0, is_read_only=True),))
        return engine.run(spec, (fd,))

    assert inside(body)[2] == "by fd"


def test_a_bind_target_is_resolved_inside_the_root(run: Callable[..., Any], tree: Any) -> None:
    source = tree.base / "source"
    source.mkdir()
    outside = tree.base / "outside"
    outside.mkdir()
    (tree.lower / "link").symlink_to(outside)
    (tree.lower / "up").symlink_to("../../../../../../../../" + str(outside).lstrip("/"))

    outcome = run("ls -d /proc; mount | grep -c source", mounts=(
        Bind("/link/a", str(source)), Bind("/up/b", str(source)),
    ))  # fmt: skip

    assert outcome.status is not None
    assert os.listdir(outside) == []
    assert (tree.upper / str(outside).lstrip("/")).is_dir()


def test_a_file_mount_is_never_on_disk(run: Callable[..., Any], tree: Any) -> None:
    secret = FileMount("/run/secrets/token", b"t0ken", mode_bits=0o400)

    outcome = run("cat /run/secrets/token; stat -c %a:%u /run/secrets/token", mounts=(secret,))

    assert outcome.out == "t0ken400:0\n"
    found = [path for path in tree.base.rglob("*") if path.is_file() and not path.is_symlink()]
    assert all(b"t0ken" not in path.read_bytes() for path in found)


def test_several_file_mounts_do_not_mix(run: Callable[..., Any]) -> None:
    files = tuple(FileMount(f"/f{number}", str(number).encode()) for number in range(12))

    outcome = run("cat /f0 /f1 /f11; echo x > /f0", mounts=files)

    assert (outcome.out, "Read-only" in outcome.err) == ("0111", True)


def test_a_writable_file_mount_can_be_written(run: Callable[..., Any]) -> None:
    file = FileMount("/etc/hosts", b"", mode_bits=0o644, is_read_only=False)

    assert run("echo a > /etc/hosts && cat /etc/hosts", mounts=(file,)).out == "a\n"


def test_a_tmpfs_has_its_size_and_mode(run: Callable[..., Any]) -> None:
    tmpfs = Tmpfs("/t", size_bytes=1 << 20, mode_bits=0o700)

    outcome = run("stat -c %a /t; df -k /t | tail -1 | awk '{print $2}'", mounts=(tmpfs,))

    assert outcome.out == "700\n1024\n"


def test_an_overlay_mount_is_thrown_away_with_its_upper(
    inside: Callable[..., Any], tree: Any
) -> None:
    for name in ("stage/sub", "stage2", "up", "wk"):
        (tree.base / name).mkdir(parents=True)
    (tree.base / "stage/sub/file").write_text("from a stage\n")

    def body(engine: Any) -> Any:
        layers = (str(tree.base / "stage2"), str(tree.base / "stage"))
        both = {"userxattr": engine.privileges.userxattr}
        writable = Overlay(layers, str(tree.base / "up"), str(tree.base / "wk"), **both)
        mounts = (
            OverlayMount("/ro", Overlay(layers, **both), "/sub", is_read_only=True),
            OverlayMount("/one", Overlay(layers[1:], **both), "sub/file", is_read_only=True),
            OverlayMount("/rw", writable),
        )
        return engine.run(engine.sh("cat /ro/file /one; echo w > /rw/sub/new", mounts=mounts))

    outcome = inside(body)

    assert outcome[:3] == (0, None, "from a stage\nfrom a stage\n")
    assert os.listdir(tree.base / "stage/sub") == ["file"]
    assert (tree.base / "up/sub/new").exists()


def test_a_device_of_the_host_is_usable_where_it_was_asked_for(run: Callable[..., Any]) -> None:
    outcome = run("head -c 2 /dev/mine | wc -c", devices=(Device("/dev/zero", "/dev/mine"),))

    assert outcome.out == "2\n"


def test_what_is_no_device_is_refused(run: Callable[..., Any]) -> None:
    outcome = run("true", devices=(Device("/etc/passwd", "/dev/x"),))

    assert (outcome.error_status, outcome.error) == (125, "/etc/passwd is not a device")


def test_a_read_only_root_still_has_writable_mounts(run: Callable[..., Any]) -> None:
    outcome = run(
        "touch /x; touch /dev/shm/y /t/z && echo fine",
        is_root_read_only=True,
        mounts=(Tmpfs("/t"),),
    )

    assert "Read-only" in outcome.err
    assert outcome.out == "fine\n"


@pytest.mark.parametrize("target", ["/proc/self", "/proc", "//proc/./sys", "/proc/1/ns"])
def test_nothing_is_mounted_over_proc(run: Callable[..., Any], tree: Any, target: str) -> None:
    outcome = run("true", mounts=(Bind(target, str(tree.base)),))

    assert outcome.error_status == 125
    assert "/proc" in outcome.error


def test_a_replacement_for_meminfo_is_allowed() -> None:
    assert not is_below_proc("/proc/meminfo")
    assert not is_below_proc("/process")


def test_a_mount_on_something_of_another_kind_is_refused(
    run: Callable[..., Any], tree: Any
) -> None:
    outcome = run("true", mounts=(Bind("/bin/busybox", str(tree.base)),))

    assert outcome.error_status == 125
    assert "/bin/busybox" in outcome.error


def test_the_working_directory_is_made_where_links_inside_lead(
    inside: Callable[..., Any], tree: Any
) -> None:
    (tree.lower / "away").symlink_to("/srv/real")

    outcome = inside(lambda engine: engine.run(engine.sh("pwd", cwd="/away/deep")))

    assert outcome[2] == "/srv/real/deep\n"
    assert (tree.upper / "srv/real/deep").is_dir()


def test_a_missing_working_directory_is_an_error_unless_made(run: Callable[..., Any]) -> None:
    outcome = run("true", cwd="/nope", is_cwd_created=False)

    assert outcome.error_status == 126
    assert "/nope" in outcome.error


@pytest.mark.parametrize("cwd", [f"/proc/self/fd/{number}" for number in range(3, 12)])
def test_no_descriptor_is_a_working_directory(run: Callable[..., Any], cwd: str) -> None:
    outcome = run("pwd; ls -a", cwd=cwd)

    assert outcome.error_status in {125, 126}


def test_a_directory_is_no_standard_input(inside: Callable[..., Any], tmp_path: Path) -> None:
    def body(engine: Any) -> Any:
        fd = os.open(tmp_path, os.O_RDONLY)
        return engine.run(engine.sh("cd /proc/self/fd/0 && pwd"), stdin=fd)

    assert inside(body)[5] == 125


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/tmp", "/etc/../tmp", "/nowhere"])
def test_links_in_place_of_the_standard_mount_points_are_refused(
    run: Callable[..., Any], tree: Any, name: str, target: str
) -> None:
    (tree.lower / name).rmdir()
    (tree.lower / name).symlink_to(target)

    outcome = run("true")

    assert outcome.error_status == 125
    assert f"/{name}" in outcome.error


def test_no_mount_is_left_outside(run: Callable[..., Any]) -> None:
    before = Path("/proc/self/mountinfo").read_text()

    run("true", mounts=(Tmpfs("/t"), FileMount("/f", b"")))

    assert Path("/proc/self/mountinfo").read_text() == before
