"""Attacks from inside; each names the class of hole that it stands for."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.kernel import capabilities
from builder.sandbox.spec import Bind

pytestmark = pytest.mark.namespaces
TOKEN = "canary-8a41c2"


@pytest.fixture
def canary(tree: Any) -> Path:
    """A file outside the root, and the check that nothing changed it."""
    path: Path = tree.base / "canary"
    path.write_text(TOKEN)
    return path


@pytest.mark.parametrize("depth", range(1, 6))
def test_leaked_descriptors_lead_nowhere(
    run: Callable[..., Any], canary: Path, depth: int
) -> None:  # CVE-2024-21626
    script = "for p in self 1 $$; do for f in /proc/$p/fd/* /proc/$p/cwd /proc/$p/root; do "
    script += f"cat $f/{'../' * depth}{str(canary).lstrip('/')} 2>/dev/null; done; done; echo done"

    outcome = run(script)

    assert outcome.out == "done\n"


@pytest.mark.parametrize(
    "cwd", ["/proc/self/fd/3", "/proc/self/fd/4/..", "/proc/1/fd/8", "../../.."]
)
def test_a_hostile_working_directory_stays_inside(
    run: Callable[..., Any], canary: Path, cwd: str
) -> None:  # CVE-2024-21626
    outcome = run(f"cat ../../../..{canary} ../../../../..{canary}", cwd=cwd)

    assert TOKEN not in outcome.out


def test_the_programs_file_is_never_the_engines(run: Callable[..., Any], tree: Any) -> None:
    # CVE-2019-5736: a script whose interpreter is whatever executes it
    entry = tree.lower / "entry"
    entry.write_text("#!/proc/self/exe\n")
    entry.chmod(0o755)

    outcome = run(("/entry", "3", "x", "/bin/sh", "sh"))

    assert outcome.status == 126


def test_an_executable_link_to_the_program_itself_is_harmless(run: Callable[..., Any]) -> None:
    outcome = run(("/proc/self/exe", "x"))

    assert outcome.status == 126


def test_the_program_in_memory_cannot_be_written(run: Callable[..., Any]) -> None:
    script = "ls -l /proc/1/exe; (echo x >> /proc/1/exe) 2>&1; sha() { wc -c < /proc/1/exe; }; sha"

    outcome = run(script, with_init=True)

    assert "memfd" in outcome.out
    assert "denied" in outcome.out or "not permitted" in outcome.out or "busy" in outcome.out


FORBIDDEN_WRITES = (
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/vm/drop_caches",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper",
    "/sys/fs/cgroup/release_agent",
    "/sys/power/state",
)


@pytest.mark.parametrize("path", FORBIDDEN_WRITES)
def test_files_of_the_kernel_cannot_be_opened_for_writing(
    run: Callable[..., Any], path: str
) -> None:  # CVE-2025-31133
    outcome = run(f"(exec 3>>{path}) 2>/dev/null && echo OPENED")

    assert "OPENED" not in outcome.out


@pytest.mark.parametrize(
    "path",
    ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/acpi/wakeup"],
)
def test_secrets_of_the_kernel_are_masked(run: Callable[..., Any], path: str) -> None:
    assert run(f"head -c 10 {path} 2>/dev/null | wc -c").out == "0\n"


@pytest.mark.parametrize("name", ["mem", "vda", "sda", "kmsg", "port", "fuse", "loop0"])
def test_there_are_no_devices_of_the_host(run: Callable[..., Any], name: str) -> None:
    assert run(f"test -e /dev/{name} && echo there").out == ""


@pytest.mark.root
@pytest.mark.parametrize("directory", ["/", "/dev", "/tmp", "/dev/shm"])
def test_a_made_device_cannot_be_opened(run: Callable[..., Any], directory: str) -> None:
    outcome = run(f"cd {directory} && mknod kmsg c 1 11 && (exec 3<kmsg) && echo OPENED")

    assert "OPENED" not in outcome.out


@pytest.mark.root
def test_a_device_node_of_a_layer_cannot_be_opened(run: Callable[..., Any], tree: Any) -> None:
    os.mknod(tree.lower / "kmsg", 0o666 | stat.S_IFCHR, os.makedev(1, 11))

    assert "OPENED" not in run("(exec 3</kmsg) && echo OPENED").out


@pytest.mark.root
def test_a_device_on_a_bound_directory_cannot_be_opened(run: Callable[..., Any], tree: Any) -> None:
    source = tree.base / "source"
    source.mkdir()
    os.mknod(source / "kmsg", 0o666 | stat.S_IFCHR, os.makedev(1, 11))

    assert (
        "OPENED"
        not in run("(exec 3</b/kmsg) && echo OPENED", mounts=(Bind("/b", str(source)),)).out
    )


@pytest.mark.parametrize("name", ["console", "pts", "ptmx", "shm", "null", "fd", "mqueue", "tty"])
def test_links_below_dev_of_the_image_are_not_written_through(
    run: Callable[..., Any], tree: Any, canary: Path, name: str
) -> None:  # CVE-2025-52565
    (tree.lower / "dev" / name).symlink_to(canary)

    outcome = run(f"echo x > /dev/null; ls -l /dev/{name}; tty", is_tty=False)

    assert canary.read_text() == TOKEN
    assert "canary" not in outcome.out


def test_a_replaced_null_device_masks_nothing_else(run: Callable[..., Any]) -> None:
    # CVE-2025-31133: the next sandbox has a /dev of its own
    run("rm /dev/null; ln -s /proc/sys/kernel/core_pattern /dev/null")

    outcome = run("stat -c %t:%T /dev/null /proc/keys")

    assert outcome.out == "1:3\n1:3\n"


@pytest.mark.parametrize(
    "command",
    [
        "mount -t tmpfs x /tmp",
        "mount -o bind / /tmp",
        "mount -o remount,rw /sys",
        "umount /proc/sys",
        "unshare -m true",
        "unshare -U true",
        "hostname other",
        f"chroot /proc/1/root/../../.. test -e {__file__}",
        "mount -t cgroup x /tmp -o memory",
        "nsenter -t 1 -m true",
    ],
)
def test_administration_is_refused(run: Callable[..., Any], command: str) -> None:
    outcome = run(f"{command} 2>&1 && echo DONE")

    assert "DONE" not in outcome.out


def test_the_network_is_empty(run: Callable[..., Any]) -> None:  # CVE-2020-15257
    name = f"builder-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        outcome = run("cat /proc/net/unix; ip -o link | grep -v lo:")

    assert name not in outcome.out
    assert len(outcome.out.splitlines()) == 1


def test_loopback_is_up(run: Callable[..., Any]) -> None:
    assert "127.0.0.1" in run("ip addr show lo").out


def test_processes_and_names_of_the_host_are_invisible(run: Callable[..., Any]) -> None:
    outcome = run(f"ls -d /proc/[0-9]* | wc -l; kill -0 {os.getpid()} 2>&1; hostname", hostname="b")

    lines = outcome.out.split()
    assert int(lines[0]) < 5
    assert lines[-1] == "b"


def test_every_namespace_is_another(run: Callable[..., Any]) -> None:
    names = ("mnt", "pid", "ipc", "uts", "net", "cgroup")

    links = run(f"cd /proc/1/ns; for n in {' '.join(names)}; do readlink $n; done").out.split()

    assert all(
        link != os.readlink(f"/proc/self/ns/{name}")
        for name, link in zip(names, links, strict=True)
    )


def test_system_v_memory_is_private(run: Callable[..., Any]) -> None:
    assert len(run("cat /proc/sysvipc/shm").out.splitlines()) == 1


@pytest.mark.parametrize("with_admin", [False, True])
def test_keys_cannot_be_pushed_into_a_terminal(
    inside: Callable[..., Any], *, with_admin: bool
) -> None:  # CVE-2017-5226
    import fcntl
    import termios

    from builder.kernel import seccomp, syscalls

    def body(_engine: Any) -> Any:
        mask = capabilities.ALL if with_admin else capabilities.DEFAULT
        _, slave_fd = os.openpty()
        os.setsid()
        fcntl.ioctl(slave_fd, termios.TIOCSCTTY, 0)
        syscalls.seccomp(seccomp.default_profile(mask))
        try:
            fcntl.ioctl(slave_fd, termios.TIOCSTI, b"x")
        except OSError as error:
            return error.errno
        return 0

    assert inside(body) == 1


def test_a_racing_swap_of_a_shared_mount_leads_nowhere(
    inside: Callable[..., Any], canary: Path, tree: Any
) -> None:  # CVE-2021-30465: a directory swapped for a link while another sandbox mounts below it
    shared = tree.base / "shared"
    (shared / "dir").mkdir(parents=True)
    swap = (
        f"cd /s; ln -s {tree.base} link; while true; do mv dir old; mv link dir; mv dir link; "
        "mv old dir; done"
    )

    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        volume = Bind("/s", str(shared))
        found = []
        with engine.zygote.launch(
            engine.sh(swap, mounts=(volume,)), null_fd, null_fd, null_fd
        ) as sandbox:
            sandbox.started()
            (engine.tree.base / "u2").mkdir()
            (engine.tree.base / "w2").mkdir()
            root = engine.tree.overlay(userxattr=engine.privileges.userxattr)
            root = root._replace(
                upper=str(engine.tree.base / "u2"), work=str(engine.tree.base / "w2")
            )
            source = engine.tree.base / "empty"
            source.mkdir()
            for _ in range(40):
                mounts = (volume, Bind("/s/dir/x", str(source)))
                spec = engine.sh("cat /s/dir/canary", mounts=mounts, root=root)
                found.append(engine.run(spec)[2])
        return found, sorted(os.listdir(engine.tree.base))

    found, names = inside(body)

    assert TOKEN not in "".join(found)
    assert "x" not in names
    assert canary.read_text() == TOKEN
