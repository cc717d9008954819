"""Resource limits as values, and the control files of version 1 and 2 that say the same.

Pure arithmetic. Zero means "not set" everywhere; -1 means "without limit" where that differs.

Spec: Documentation/admin-guide/cgroup-v2.rst; the conversions are runc's (libcontainer/cgroups).
"""

from typing import Literal

from builder.values import NamedTuple

DEFAULT_PERIOD_US = 100_000
UNLIMITED_BYTES = 1 << 60
"""Version 1 writes "no limit" as a number near 2**63."""
_MAX_SHARES = 262_144
_MIN_SHARES = 2


class DeviceRate(NamedTuple):
    """A throttle of one block device, in bytes or operations a second."""

    major: int
    minor: int
    kind: Literal["rbps", "wbps", "riops", "wiops"]
    rate: int


class Limits(NamedTuple):
    """What a group may use. `memory_swap_bytes` counts memory and swap together, as Docker does."""

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    memory_reservation_bytes: int = 0
    memory_swappiness: int | None = None
    is_oom_kill_disabled: bool = False
    cpu_quota_us: int = 0
    cpu_period_us: int = 0
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int = 0
    blkio_weight: int = 0
    device_rates: tuple[DeviceRate, ...] = ()

    def controllers(self) -> tuple[str, ...]:
        """Name the controllers (version 1 names) that the limits need."""
        memory = self.memory_bytes or self.memory_swap_bytes or self.memory_reservation_bytes
        needed = {
            "memory": memory or self.memory_swappiness is not None or self.is_oom_kill_disabled,
            "cpu": self.cpu_quota_us or self.cpu_period_us or self.cpu_shares,
            "cpuset": self.cpuset_cpus or self.cpuset_mems,
            "pids": self.pids > 0,
            "blkio": self.blkio_weight or self.device_rates,
        }
        return tuple(name for name, is_needed in needed.items() if is_needed)


class Setting(NamedTuple):
    """One write: the version 1 controller (or '' in version 2), the file, the text."""

    controller: str
    file: str
    text: str
    is_required: bool = True
    """False: the file may be absent, as those for swap are on many machines."""


def swap_bytes(limits: Limits) -> int:
    """Give memory plus swap: as asked, or twice the memory; -1 without limit, 0 for not set."""
    if limits.memory_swap_bytes:
        return limits.memory_swap_bytes
    return 2 * limits.memory_bytes if limits.memory_bytes > 0 else 0


def v1(limits: Limits) -> list[Setting]:
    """Translate for version 1, in an order in which the kernel accepts each write."""
    settings = []
    swap = swap_bytes(limits)
    if limits.memory_bytes:
        settings.append(Setting("memory", "memory.limit_in_bytes", str(limits.memory_bytes)))
    if swap:
        asked = bool(limits.memory_swap_bytes)
        file = "memory.memsw.limit_in_bytes"
        settings.append(Setting("memory", file, str(swap), is_required=asked and swap > 0))
    if limits.memory_reservation_bytes:
        text = str(limits.memory_reservation_bytes)
        settings.append(Setting("memory", "memory.soft_limit_in_bytes", text))
    if limits.memory_swappiness is not None:
        text = str(limits.memory_swappiness)
        settings.append(Setting("memory", "memory.swappiness", text, is_required=False))
    if limits.is_oom_kill_disabled:
        settings.append(Setting("memory", "memory.oom_control", "1"))
    return [*settings, *_cpu_v1(limits), *_cpuset(limits, "cpuset"), *_rest_v1(limits)]


def v2(limits: Limits) -> list[Setting]:
    """Translate for version 2."""
    settings = []
    if limits.memory_bytes:
        text = _or_max(limits.memory_bytes)
        settings.append(Setting("", "memory.max", text))
    if swap := swap_bytes(limits):
        only_swap = -1 if swap < 0 else max(0, swap - max(0, limits.memory_bytes))
        settings.append(Setting("", "memory.swap.max", _or_max(only_swap), is_required=False))
    if limits.memory_reservation_bytes:
        settings.append(Setting("", "memory.low", str(limits.memory_reservation_bytes)))
    if limits.cpu_quota_us or limits.cpu_period_us:
        quota = _or_max(limits.cpu_quota_us or -1)
        text = f"{quota} {limits.cpu_period_us or DEFAULT_PERIOD_US}"
        settings.append(Setting("", "cpu.max", text))
    if limits.cpu_shares:
        settings.append(Setting("", "cpu.weight", str(weight_of_shares(limits.cpu_shares))))
    if limits.pids:
        settings.append(Setting("", "pids.max", _or_max(limits.pids)))
    if limits.blkio_weight:
        text = f"default {io_weight(limits.blkio_weight)}"
        settings.append(Setting("", "io.weight", text, is_required=False))
    for rate in limits.device_rates:
        text = f"{rate.major}:{rate.minor} {rate.kind}={rate.rate}"
        settings.append(Setting("", "io.max", text))
    return [*settings, *_cpuset(limits, "")]


def weight_of_shares(shares: int) -> int:
    """Turn version 1 shares (2 to 262144) into a version 2 weight (1 to 10000), linearly."""
    bounded = min(max(shares, _MIN_SHARES), _MAX_SHARES)
    return 1 + (bounded - _MIN_SHARES) * 9999 // (_MAX_SHARES - _MIN_SHARES)


def io_weight(blkio_weight: int) -> int:
    """Turn a version 1 weight (10 to 1000) into a version 2 weight (1 to 10000), linearly."""
    return 1 + (min(max(blkio_weight, 10), 1000) - 10) * 9999 // 990


def quota_of_cpus(nano_cpus: int, period_us: int = DEFAULT_PERIOD_US) -> int:
    """Turn billionths of a processor into a quota in each period, microseconds."""
    return nano_cpus * period_us // 1_000_000_000


def _or_max(value: int) -> str:
    return "max" if value < 0 else str(value)


def _cpu_v1(limits: Limits) -> list[Setting]:
    settings = []
    if limits.cpu_shares:
        settings.append(Setting("cpu", "cpu.shares", str(limits.cpu_shares)))
    if limits.cpu_period_us:
        settings.append(Setting("cpu", "cpu.cfs_period_us", str(limits.cpu_period_us)))
    if limits.cpu_quota_us:
        settings.append(Setting("cpu", "cpu.cfs_quota_us", str(limits.cpu_quota_us)))
    return settings


def _cpuset(limits: Limits, controller: str) -> list[Setting]:
    settings = []
    if limits.cpuset_cpus:
        settings.append(Setting(controller, "cpuset.cpus", limits.cpuset_cpus))
    if limits.cpuset_mems:
        settings.append(Setting(controller, "cpuset.mems", limits.cpuset_mems))
    return settings


def _rest_v1(limits: Limits) -> list[Setting]:
    settings = []
    if limits.pids:
        settings.append(Setting("pids", "pids.max", _or_max(limits.pids)))
    if limits.blkio_weight:
        text = str(limits.blkio_weight)
        settings.append(Setting("blkio", "blkio.weight", text, is_required=False))
    files = {"rbps": "read_bps", "wbps": "write_bps", "riops": "read_iops", "wiops": "write_iops"}
    for rate in limits.device_rates:
        file = f"blkio.throttle.{files[rate.kind]}_device"
        settings.append(Setting("blkio", file, f"{rate.major}:{rate.minor} {rate.rate}"))
    return settings
