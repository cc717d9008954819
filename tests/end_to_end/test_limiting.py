"""What RUN may use: memory, processors, devices, names of hosts, and whose programs."""

import struct
from pathlib import Path

import pytest

from builder.kernel.cgroup_limits import Limits
from builder.kernel.cgroups import create, hierarchies
from tests.end_to_end.site import Site

pytestmark = pytest.mark.root


def groups() -> set[Path]:
    machine = hierarchies()
    roots = {*machine.v1.values(), machine.v2} - {""}
    return {group for root in roots for group in Path(root, "builder").glob("step-*")}


@pytest.fixture(autouse=True)
def _leaves_no_group() -> None:
    if not all(hierarchies().has(name) for name in Limits(1, cpu_quota_us=1).controllers()):
        pytest.skip("no memory and cpu control groups")


def test_a_step_killed_for_want_of_memory_is_told_so(site: Site) -> None:
    before = groups()

    built = site.build("FROM busybox\nRUN exec tail -c 200m /dev/zero\n", "--memory=24m", status=1)

    assert "was killed: out of memory (limit 24.0 MiB)" in built.stderr
    assert groups() == before


def test_groups_that_a_killed_builder_left_are_removed(site: Site) -> None:
    limits = Limits(memory_bytes=64 << 20)
    left = create("step-999999999-dead", limits)
    assert left is not None
    assert groups()

    site.build("FROM busybox\nRUN true\n", "--memory=64m")

    assert not any("999999999" in group.name for group in groups())


def test_limits_do_not_count_for_the_cache(site: Site) -> None:
    dockerfile = "FROM busybox\nRUN echo run > /x\n"
    site.build(dockerfile, "--memory=64m", "--cpus=0.5")

    again = site.build(dockerfile, "--cpus=1.5")

    assert again.is_cached("RUN")


def test_a_step_runs_below_the_group_it_is_given(site: Site) -> None:
    tree = site.tree(
        "FROM busybox\nRUN --security=insecure cat /proc/1/cgroup > /groups\n",
        "--cgroup-parent=builder-test",
        "--allow=security.insecure",
    )

    assert tree["groups"].content
    machine = hierarchies()
    for root in {*machine.v1.values(), machine.v2} - {""}:
        made = Path(root, "builder-test")
        assert not list(made.glob("step-*"))
        if made.is_dir():
            made.rmdir()


def test_ulimits_and_shared_memory_reach_the_step(site: Site) -> None:
    tree = site.tree(
        "FROM busybox\nRUN ulimit -n > /n; df -k /dev/shm | tail -1 > /shm\n",
        "--ulimit=nofile=77:99",
        "--shm-size=8m",
    )

    assert tree["n"].content == b"77\n"
    assert tree["shm"].content.split()[1] == b"8192"


def test_hosts_get_names_and_the_gateway_is_the_bridge(site: Site) -> None:
    tree = site.tree(
        "FROM busybox\nRUN cp /etc/hosts /hosts; ip route > /routes\n",
        "--add-host=db:10.1.2.3",
        "--add-host=me:host-gateway",
    )

    hosts = dict(line.split("\t")[::-1] for line in tree["hosts"].content.decode().splitlines())
    assert hosts["db"] == "10.1.2.3"
    assert f"default via {hosts['me']} ".encode() in tree["routes"].content


def test_a_step_without_network_has_only_itself(site: Site) -> None:
    tree = site.tree("FROM busybox\nRUN ls /sys/class/net > /net\n", "--network=none")

    assert tree["net"].content == b"lo\n"


def test_a_program_of_another_machine_is_named_with_the_remedy(site: Site) -> None:
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 2, 0x1234)
    path = site.context / "sh"
    path.write_bytes(head)
    path.chmod(0o755)

    built = site.build("FROM scratch\nCOPY sh /bin/sh\nRUN true\n", status=1)

    assert "/bin/sh is a program for machine 4660, which this machine" in built.stderr
    assert "binfmt_misc" in built.stderr
    assert "Dockerfile:3\n" in built.stderr


def test_a_device_that_nobody_describes_is_missing_if_it_is_required(site: Site) -> None:
    dockerfile = "FROM busybox\nRUN --device=vendor.example/none=x{} true\n"
    site.build(dockerfile.format(""), "--allow=device")

    built = site.build(dockerfile.format(",required"), "--allow=device", status=1)

    assert "the device vendor.example/none=x is not registered" in built.stderr
