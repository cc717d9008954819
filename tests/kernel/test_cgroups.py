import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import Denied
from builder.kernel import cgroup_limits, cgroups
from builder.kernel.cgroup_limits import DeviceRate, Limits

NAME = f"test-{os.getpid()}"


@pytest.fixture
def removed() -> Iterator[None]:
    yield
    group = cgroups.existing(NAME)
    if group is not None:
        group.kill()
        group.remove()


def files(settings: list[cgroup_limits.Setting]) -> dict[str, str]:
    return {setting.file: setting.text for setting in settings}


def test_nothing_asked_for_needs_no_controller_and_no_write() -> None:
    assert Limits().controllers() == ()
    assert cgroup_limits.v1(Limits()) == cgroup_limits.v2(Limits()) == []


def test_memory_without_swap_allows_as_much_swap_again() -> None:
    limits = Limits(memory_bytes=64 << 20)

    assert files(cgroup_limits.v1(limits))["memory.memsw.limit_in_bytes"] == str(128 << 20)
    assert files(cgroup_limits.v2(limits))["memory.swap.max"] == str(64 << 20)


def test_unlimited_is_minus_one_in_version_1_and_max_in_version_2() -> None:
    limits = Limits(memory_bytes=64 << 20, memory_swap_bytes=-1, pids=-1)

    assert files(cgroup_limits.v1(limits))["memory.memsw.limit_in_bytes"] == "-1"
    assert files(cgroup_limits.v2(limits))["memory.swap.max"] == "max"
    assert files(cgroup_limits.v1(limits))["pids.max"] == "max"


def test_half_a_processor_is_half_of_each_period() -> None:
    limits = Limits(cpu_quota_us=50_000, cpu_period_us=100_000)

    assert files(cgroup_limits.v2(limits)) == {"cpu.max": "50000 100000"}


def test_device_rates_have_a_file_each_in_version_1_and_share_one_in_version_2() -> None:
    limits = Limits(device_rates=(DeviceRate(8, 0, "rbps", 1024), DeviceRate(8, 0, "wiops", 5)))

    assert files(cgroup_limits.v1(limits)) == {
        "blkio.throttle.read_bps_device": "8:0 1024",
        "blkio.throttle.write_iops_device": "8:0 5",
    }
    assert [s.text for s in cgroup_limits.v2(limits)] == ["8:0 rbps=1024", "8:0 wiops=5"]


@given(st.integers(2, 262_144), st.integers(2, 262_144))
def test_weights_keep_the_order_of_shares_and_their_bounds(low: int, high: int) -> None:
    low, high = sorted((low, high))

    weights = (cgroup_limits.weight_of_shares(low), cgroup_limits.weight_of_shares(high))

    assert 1 <= weights[0] <= weights[1] <= 10_000


@pytest.mark.root
@pytest.mark.usefixtures("removed")
def test_a_group_that_runs_out_of_memory_counts_its_kills() -> None:
    if not cgroups.hierarchies().has("memory"):
        pytest.skip("no memory controller")
    group = cgroups.create(NAME, Limits(memory_bytes=8 << 20, memory_swap_bytes=8 << 20))
    assert group is not None

    pid = os.fork()
    if pid == 0:
        for path in group.procs:
            with open(path, "w", encoding="ascii") as file:
                file.write("0")
        bytearray(64 << 20)
        os._exit(0)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == -9
    assert group.oom_kills() == 1
    assert group.usage().memory_limit_bytes == 8 << 20


@pytest.mark.root
@pytest.mark.usefixtures("removed")
def test_a_group_is_found_again_frozen_killed_and_removed() -> None:
    group = cgroups.create(NAME, Limits())
    if group is None or not cgroups.hierarchies().has("pids"):
        pytest.skip("no control groups")
    pid = os.fork()
    if pid == 0:
        for path in group.procs:
            with open(path, "w", encoding="ascii") as file:
                file.write("0")
        os.write(1, b"")
        while True:
            os.sched_yield()
    while not group.pids():
        os.sched_yield()

    found = cgroups.existing(NAME)
    assert found == group
    assert group.freeze(is_frozen=True)
    assert group.freeze(is_frozen=False)
    group.kill()
    os.waitpid(pid, 0)
    group.remove()

    assert cgroups.existing(NAME) is None


def test_a_limit_without_its_controller_is_refused() -> None:
    machine = cgroups.Hierarchies({}, "", frozenset(), {})

    with pytest.raises(Denied, match="memory"):
        cgroups.check(Limits(memory_bytes=64 << 20), machine)
