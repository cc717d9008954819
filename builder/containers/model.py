"""Containers as values: what was decided when one was made, and what became of it since."""

import os
from typing import Literal

from builder.containers.request import ContainerRequest
from builder.networks.model import start_ticks
from builder.networks.ports import PortBinding
from builder.oci.config import RunConfig
from builder.values import NamedTuple

Status = Literal["created", "running", "paused", "restarting", "removing", "exited", "dead"]
ALIVE: frozenset[Status] = frozenset({"running", "paused", "restarting"})
NEVER = "0001-01-01T00:00:00Z"
"""What Docker shows for a time that has not come."""
EXIT_LOST = 255
"""The status of a container whose monitor vanished."""
SHORT_ID = 12


class MountPoint(NamedTuple):
    """A mount that is decided. `source` is a host path; `name` a volume's."""

    type: Literal["bind", "volume", "tmpfs", "image"]
    target: str
    source: str = ""
    name: str = ""
    is_read_only: bool = False
    options: tuple[str, ...] = ()
    is_anonymous: bool = False
    """A volume that goes when its container does."""


class Connection(NamedTuple):
    """A network that a container was connected to after it had been made."""

    network: str
    aliases: tuple[str, ...] = ()
    ip: str = ""


class Container(NamedTuple):
    """What a container is; fixed when it is made, but for its name, limits and networks."""

    id: str
    name: str
    created: str
    image: str
    """As the user wrote it."""
    image_id: str
    manifest: str
    snapshot: int | None
    platform: str
    config: RunConfig
    """The image's configuration with the request's changes."""
    argv: tuple[str, ...]
    hostname: str
    request: ContainerRequest
    mounts: tuple[MountPoint, ...] = ()
    networks: tuple[str, ...] = ()
    connections: tuple[Connection, ...] = ()
    is_stdin_once: bool = True
    """Its input ends with that of the first one attached."""

    @property
    def short_id(self) -> str:
        """The first digits of the id."""
        return self.id[:SHORT_ID]


class HealthEntry(NamedTuple):
    """One run of a health check."""

    start: str
    end: str
    exit_code: int
    output: str


class Health(NamedTuple):
    """What the health checks say."""

    status: Literal["starting", "healthy", "unhealthy"] = "starting"
    failing_streak: int = 0
    log: tuple[HealthEntry, ...] = ()


class State(NamedTuple):
    """Where a container stands; written by its monitor, or by others while it has none."""

    status: Status = "created"
    pid: int = 0
    ticks: int = 0
    """With `pid`, names the main process for ever."""
    monitor_pid: int = 0
    monitor_ticks: int = 0
    exit_code: int = 0
    error: str = ""
    is_oom_killed: bool = False
    started_at: str = NEVER
    finished_at: str = NEVER
    restart_count: int = 0
    health: Health | None = None
    ports: tuple[PortBinding, ...] = ()
    has_cgroup: bool = False

    @property
    def is_alive(self) -> bool:
        """Whether it runs, is paused, or waits to run again."""
        return self.status in ALIVE


def monitored(state: State) -> State:
    """Make the calling process the monitor."""
    pid = os.getpid()
    return state._replace(monitor_pid=pid, monitor_ticks=start_ticks(pid))


def has_monitor(state: State) -> bool:
    """Tell whether the process that watches over the container lives."""
    return state.monitor_pid != 0 and start_ticks(state.monitor_pid) == state.monitor_ticks


def new_id() -> str:
    """Make a container id; its first 12 digits are not all decimal, for they become a host name."""
    while True:
        identifier = os.urandom(32).hex()
        if not identifier[:SHORT_ID].isdigit():
            return identifier


def rfc3339(time_ns: int) -> str:
    """Write a time of the epoch as Docker's logs do, in UTC with nanoseconds."""
    import time

    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def now() -> str:
    """Give the present moment as `rfc3339`."""
    import time

    return rfc3339(time.time_ns())


def parse_time(text: str) -> float:
    """Read an RFC 3339 time as seconds since the epoch; 0 for NEVER."""
    if text == NEVER or not text:
        return 0.0
    from calendar import timegm

    date, _, rest = text.partition("T")
    clock, offset_s = rest[:8], 0
    fraction = rest[8:].rstrip("Z")
    for sign in "+-":
        digits, found, offset = fraction.partition(sign)
        if found:
            hours, _, minutes = offset.partition(":")
            offset_s = (int(hours) * 3600 + int(minutes or 0) * 60) * (1 if sign == "+" else -1)
            fraction = digits
            break
    year, month, day = (int(part) for part in date.split("-"))
    hour, minute, second = (int(part) for part in clock.split(":"))
    whole = timegm((year, month, day, hour, minute, second))
    return whole - offset_s + (float(f"0{fraction}") if fraction else 0.0)
