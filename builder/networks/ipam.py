"""Which addresses a network has and which are free. Pure arithmetic on IPv4.

The pools are Docker's: sixteen-bit networks from 172.17 up, then pieces of 192.168; behind them
ten more from 10, for hosts that use the first ones themselves.
"""

from collections.abc import Container, Iterable, Iterator
from itertools import chain

from builder.errors import Conflict, UsageError
from builder.networks.ports import is_ipv4
from builder.values import NamedTuple

_ADDRESS_BITS = 32
_MIN_PREFIX, _MAX_PREFIX = 1, 30


class Subnet(NamedTuple):
    """A block of addresses; `base` is a number with the host bits clear."""

    base: int
    prefix_length: int

    def __str__(self) -> str:
        """Write it as `10.0.0.0/8`."""
        return f"{dotted(self.base)}/{self.prefix_length}"

    @property
    def size(self) -> int:
        """Count the addresses."""
        return 1 << (_ADDRESS_BITS - self.prefix_length)

    @property
    def last(self) -> int:
        """Give the broadcast address."""
        return self.base + self.size - 1

    def holds(self, address: int) -> bool:
        """Tell whether an address belongs to it."""
        return self.base <= address <= self.last

    def overlaps(self, other: "Subnet") -> bool:
        """Tell whether two blocks share an address."""
        return self.base <= other.last and other.base <= self.last


def parse_subnet(text: str) -> Subnet:
    """Read `10.1.0.0/16`; host bits are cleared as Docker does. Raises UsageError."""
    address, slash, length = text.partition("/")
    if not slash or not is_ipv4(address) or not length.isdigit():
        raise UsageError(f"{text!r} is not an IPv4 subnet", fix="write it as 10.1.0.0/16")
    prefix_length = int(length)
    if not _MIN_PREFIX <= prefix_length <= _MAX_PREFIX:
        raise UsageError(f"{text!r}: the prefix length must lie between 1 and 30")
    mask = (1 << _ADDRESS_BITS) - (1 << (_ADDRESS_BITS - prefix_length))
    return Subnet(number(address) & mask, prefix_length)


def parse_address(text: str) -> int:
    """Read a dotted address; raise UsageError if it is none."""
    if not is_ipv4(text):
        raise UsageError(f"{text!r} is not an IPv4 address")
    return number(text)


def number(address: str) -> int:
    """Turn a dotted address into a number."""
    value = 0
    for part in address.split("."):
        value = value << 8 | int(part)
    return value


def dotted(address: int) -> str:
    """Turn a number into a dotted address."""
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def pools() -> Iterator[Subnet]:
    """List the subnets that networks get by default, in the order of preference."""
    for second in range(17, 32):
        yield Subnet(172 << 24 | second << 16, 16)
    for third in range(0, 256, 16):
        yield Subnet(192 << 24 | 168 << 16 | third << 8, 20)
    for second in range(201, 256):
        yield Subnet(10 << 24 | second << 16, 16)


def free_subnet(used: Iterable[Subnet]) -> Subnet:
    """Choose the first pool that overlaps nothing in use; raise Conflict if none is left."""
    taken = tuple(used)
    for subnet in pools():
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise Conflict(
        "every address pool is in use", fix="remove networks, or give --subnet a free range"
    )


def default_gateway(subnet: Subnet) -> int:
    """Give the first usable address, which the bridge itself takes."""
    return subnet.base + 1


def free_addresses(
    subnet: Subnet, taken: Container[int], *, within: Subnet | None = None, after: int = 0
) -> Iterator[int]:
    """Yield free addresses, beginning behind the one given out last and wrapping around once."""
    first = max(subnet.base + 1, within.base if within else 0)
    last = min(subnet.last - 1, within.last if within else subnet.last)
    start = after + 1 if first <= after < last else first
    for address in chain(range(start, last + 1), range(first, start)):
        if address not in taken:
            yield address


def check_address(subnet: Subnet, address: int) -> None:
    """Raise UsageError unless a container can have this address."""
    if not subnet.holds(address) or address in {subnet.base, subnet.last}:
        raise UsageError(
            f"{dotted(address)} does not belong to {subnet}",
            fix=f"take one of {dotted(subnet.base + 2)} to {dotted(subnet.last - 1)}",
        )
