"""Networks and endpoints as values, and who holds an endpoint."""

import os

from builder.errors import UsageError
from builder.values import NamedTuple

PREDEFINED = ("bridge", "host", "none")
MAX_NAME = 128
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _LETTERS | frozenset("_.-")


class Network(NamedTuple):
    """A network that containers can join. Addresses are dotted IPv4; empty means none."""

    id: str
    name: str
    driver: str = "bridge"
    created: str = ""
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    is_internal: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    bridge: str = ""
    """The name of the bridge device."""
    mtu: int = 0
    reserved: tuple[tuple[str, str], ...] = ()
    """Addresses that no container gets, by what they are for."""
    is_subnet_chosen: bool = False
    """The user asked for this subnet; it is never exchanged for another."""

    @property
    def has_names(self) -> bool:
        """Whether containers find each other by name: on every bridge but the default one."""
        return self.driver == "bridge" and self.name != "bridge"


class Endpoint(NamedTuple):
    """A container's place in a network, kept as long as its holder lives."""

    network: str
    network_id: str
    owner: str
    """The container's id, or what else holds an address."""
    owner_name: str
    endpoint_id: str
    address: str
    prefix_length: int
    gateway: str
    mac: str
    interface: str
    """Inside the container."""
    host_interface: str
    aliases: tuple[str, ...] = ()
    pid: int = 0
    start_ticks: int = 0
    """The holder: a process and the moment it started, which together are never used twice."""


def check_name(text: str, what: str) -> str:
    """Return a valid object name as it is; raise UsageError for any other."""
    if (
        len(text) < 2  # noqa: PLR2004 - as Docker's pattern has it
        or len(text) > MAX_NAME
        or text[0] not in _LETTERS
        or not _NAME.issuperset(text)
    ):
        raise UsageError(
            f"{text[:200]!r} is not a valid {what} name",
            fix="use 2 to 128 letters, digits and _ . - and start with a letter or digit",
        )
    return text


def start_ticks(pid: int) -> int:
    """Give the moment a process started, in clock ticks since boot; 0 if there is none.

    Spec: proc_pid_stat(5), field 22.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in {b"Z", b"X"} else int(fields[19])


def holder_of(endpoint: Endpoint) -> tuple[int, int]:
    """Name the process that holds an endpoint, for ever."""
    return endpoint.pid, endpoint.start_ticks


def is_held(endpoint: Endpoint) -> bool:
    """Tell whether the process that holds an endpoint still runs."""
    return endpoint.pid != 0 and start_ticks(endpoint.pid) == endpoint.start_ticks


def held_by_me(endpoint: Endpoint) -> Endpoint:
    """Make the calling process the holder."""
    pid = os.getpid()
    return endpoint._replace(pid=pid, start_ticks=start_ticks(pid))
