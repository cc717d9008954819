from collections.abc import Callable
from typing import Any

import pytest

from builder.errors import KernelError

pytestmark = pytest.mark.namespaces


def test_dev_has_the_standard_nodes_and_links(run: Callable[..., Any]) -> None:
    script = (
        "for n in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$n; done;"
        "for l in fd stdin stdout stderr core ptmx; do echo $l $(readlink /dev/$l); done"
    )

    lines = run(script).out.splitlines()

    numbers = ["1:3", "1:5", "1:7", "1:8", "1:9", "5:0"]
    assert [line.split()[-2:] for line in lines[:6]] == [[number, "666"] for number in numbers]
    assert lines[6:] == [
        "fd /proc/self/fd",
        "stdin /proc/self/fd/0",
        "stdout /proc/self/fd/1",
        "stderr /proc/self/fd/2",
        "core /proc/kcore",
        "ptmx pts/ptmx",
    ]


def test_the_nodes_work(run: Callable[..., Any]) -> None:
    outcome = run("echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 1 /dev/urandom | wc -c")

    assert (outcome.out, outcome.err) == ("3\n1\n", "")


def test_sizes_and_modes_of_the_memory_file_systems(run: Callable[..., Any]) -> None:
    script = "df -k /dev /dev/shm | awk 'NR>1{print $2, $6}'; stat -c %a /dev /dev/shm"

    assert run(script).out == "65536 /dev\n65536 /dev/shm\n755\n1777\n"


def test_shm_has_the_size_asked_for(run: Callable[..., Any]) -> None:
    outcome = run("df -k /dev/shm | awk 'NR>1{print $2}'", shm_size_bytes=1 << 20)

    assert outcome.out == "1024\n"


def test_mount_options_are_those_of_docker(run: Callable[..., Any]) -> None:
    lines = run("cat /proc/mounts").out.splitlines()

    options = {line.split()[1]: set(line.split()[3].split(",")) for line in lines}
    safe = {"nosuid", "nodev", "noexec"}
    assert safe | {"rw"} <= options["/proc"]
    assert safe | {"ro"} <= options["/sys"]
    assert {"nosuid", "noexec"} <= options["/dev"]
    assert {"nosuid", "noexec", "ptmxmode=666", "mode=620"} <= options["/dev/pts"]
    assert safe <= options["/dev/shm"]
    assert safe <= options["/dev/mqueue"]
    assert "ro" in options["/sys/fs/cgroup"]


def test_proc_is_that_of_the_sandbox(run: Callable[..., Any]) -> None:
    outcome = run("ls -d /proc/[0-9]* | wc -l; stat -f -c %t /proc", with_init=True)

    assert int(outcome.out.split()[0]) <= 5


def test_sys_and_the_groups_cannot_be_written(run: Callable[..., Any]) -> None:
    outcome = run("mkdir /sys/fs/cgroup/x; touch /sys/x; find /sys/fs/cgroup -writable -type f")

    assert outcome.out == ""


def test_mqueue_is_private(run: Callable[..., Any]) -> None:
    assert run("ls -A /dev/mqueue; echo end").out == "end\n"


@pytest.mark.root
def test_a_privileged_sandbox_has_all_devices(run: Callable[..., Any]) -> None:
    outcome = run("ls /dev | wc -l; mount | grep -c 'sysfs.*rw'", is_privileged=True)

    count, writable = outcome.out.split()
    assert int(count) > 16
    assert writable == "1"


@pytest.mark.root
def test_sysctls_of_new_namespaces_are_set(run: Callable[..., Any]) -> None:
    values = (("net.ipv4.ip_unprivileged_port_start", "0"), ("kernel/msgmax", "9000"))

    outcome = run(
        "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax", sysctls=values
    )

    assert outcome.out == "0\n9000\n"


def test_an_unknown_sysctl_is_refused(run: Callable[..., Any]) -> None:
    outcome = run("true", sysctls=(("no.such.thing", "1"),))

    assert outcome.error_status == 125
    assert "no.such.thing" in outcome.error


@pytest.mark.parametrize("name", ["../../etc/x", "net/../../../x"])
def test_a_sysctl_is_below_proc_sys(run: Callable[..., Any], name: str) -> None:
    assert run("true", sysctls=((name, "1"),)).error_status == 125


def test_an_error_has_a_remedy() -> None:
    from builder.sandbox.filesystems import _remedy

    assert "link" in (_remedy(KernelError("open", 20, "/proc")) or "")
    assert "unmasked" in (_remedy(KernelError("mount", 1, "/proc")) or "")
    assert _remedy(KernelError("mount", 12)) is None
