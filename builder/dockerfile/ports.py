"""EXPOSE: words like `8080`, `53/udp`, `7000-7003` or `ip:host:container`, as single ports.

Only the container's port counts; what stands before it is accepted, checked and forgotten.
"""

from builder.values import NamedTuple

MAX_PORT = 65535
PROTOCOLS = ("tcp", "udp", "sctp")


class Exposed(NamedTuple):
    """The ports of one word, as `number/protocol`, and what is odd about how it was written."""

    ports: tuple[str, ...]
    is_protocol_lower: bool = True
    is_mapping: bool = False


class InvalidPort(ValueError):
    """A word of EXPOSE is no port; the text says why."""


def exposed(word: str) -> Exposed:
    """Read one word of EXPOSE; raise InvalidPort."""
    mapping, _, container = word.rpartition(":")
    address, _, host = mapping.rpartition(":")
    port, _, protocol = container.partition("/")
    if not port:
        raise InvalidPort(f'invalid port: "{word}": no port specified')
    if protocol.lower() not in ("", *PROTOCOLS):
        raise InvalidPort(f'invalid port: "{word}": invalid proto: {protocol}')
    numbers = _range(port)
    if numbers is None:
        raise InvalidPort(f"invalid containerPort: {port}")
    _check_mapping(address, host, port, numbers)
    suffix = protocol.lower() or PROTOCOLS[0]
    return Exposed(
        tuple(f"{number}/{suffix}" for number in numbers),
        is_protocol_lower=protocol == protocol.lower(),
        is_mapping=bool(address or host),
    )


def _check_mapping(address: str, host: str, container: str, numbers: range) -> None:
    if address and not _is_address(address):
        raise InvalidPort(f"invalid IP address: {address}")
    if not host:
        return
    published = _range(host)
    if published is None:
        raise InvalidPort(f"invalid hostPort: {host}")
    if len(numbers) not in (1, len(published)):
        raise InvalidPort(
            f"invalid ranges specified for container and host Ports: {container} and {host}"
        )


def _range(text: str) -> range | None:
    start, dash, end = text.partition("-")
    first = _number(start)
    last = _number(end) if dash else first
    if first is None or last is None or last < first:
        return None
    return range(first, last + 1)


def _number(text: str) -> int | None:
    digits = text.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()) or len(digits.lstrip("0")) > len(str(MAX_PORT)):
        return None
    number = int(digits)
    return number if number <= MAX_PORT else None


def _is_address(text: str) -> bool:
    address = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return _is_ipv4(address) or _is_ipv6(address)


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == len(bytes(4)) and all(_is_octet(part) for part in parts)


def _is_octet(text: str) -> bool:
    fits = text.isascii() and text.isdigit() and str(int(text)) == text
    return fits and int(text) < 1 << 8


def _is_ipv6(text: str) -> bool:
    head, gap, tail = text.partition("::")
    left = head.split(":") if head else []
    right = tail.split(":") if tail else []
    groups = left + right
    length = len(groups)
    if groups and "." in groups[-1]:
        if not _is_ipv4(groups[-1]):
            return False
        length += 1
        groups = groups[:-1]
    if not all(_is_group(group) for group in groups):
        return False
    return length < 8 if gap else length == 8  # noqa: PLR2004 - an address has eight groups


def _is_group(text: str) -> bool:
    return 1 <= len(text) <= len(bytes(4)) and all(c in "0123456789abcdefABCDEF" for c in text)
