"""Read `--publish` as docker does: `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, with ranges."""

from collections.abc import Iterable, Iterator

from builder.containers.request import PortRequest
from builder.errors import UsageError

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORT = 65535


def ports(texts: Iterable[str]) -> tuple[PortRequest, ...]:
    """Read all published ports, one request for each container port."""
    return tuple(request for text in texts for request in published(text))


def published(text: str) -> Iterator[PortRequest]:
    """Read one `--publish`; raise UsageError if it is malformed."""
    address, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise UsageError(f"{protocol!r} in -p {text} is no protocol", fix="use tcp, udp or sctp")
    rest, _, container = address.rpartition(":")
    host_ip, host = _host(rest)
    first, last = _range(container, text)
    if not host:
        for port in range(first, last + 1):
            yield PortRequest(port, protocol, host_ip)
        return
    host_first, host_last = _range(host, text)
    if first == last:
        yield PortRequest(first, protocol, host_ip, host_first, host_last)
        return
    if host_last - host_first != last - first:
        raise UsageError(f"the ranges of -p {text} have different lengths")
    for port in range(first, last + 1):
        host_port = host_first + port - first
        yield PortRequest(port, protocol, host_ip, host_port, host_port)


def _host(rest: str) -> tuple[str, str]:
    """Split `IP:PORT`; the address may be IPv6 in brackets."""
    if rest.startswith("["):
        address, _, port = rest[1:].partition("]")
        return address, port.removeprefix(":")
    address, _, port = rest.rpartition(":")
    return address, port


def _range(text: str, whole: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [first, last if dash else first]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise UsageError(
            f"{text!r} in -p {whole} is no port", fix="write [[IP:]HOST:]CONTAINER[/PROTOCOL]"
        )
    low, high = (int(number) for number in numbers)
    if not 0 < low <= high <= MAX_PORT:
        raise UsageError(f"{text} in -p {whole} is not within 1 to {MAX_PORT}")
    return low, high
