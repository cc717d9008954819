"""Published and exposed ports. Pure."""

from collections.abc import Iterable

from builder.errors import UsageError
from builder.values import NamedTuple

PROTOCOLS = ("tcp", "udp", "sctp")
ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - Docker's default: published to everyone
_MAX_PORT = 65_535
_IPV4_PARTS = 4


class PortBinding(NamedTuple):
    """A container's port that is published at an address of the host."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int

    @property
    def key(self) -> str:
        """Name the container's side, `80/tcp`."""
        return f"{self.container_port}/{self.protocol}"


def exposed_keys(texts: Iterable[str]) -> tuple[str, ...]:
    """Spell out `80`, `80/udp`, `8000-8010` as keys such as `80/tcp`; raise UsageError."""
    keys: dict[str, None] = {}
    for text in texts:
        body, protocol = _protocol(text)
        first, _, last = body.partition("-")
        start, end = _port(text, first), _port(text, last or first)
        if end < start:
            raise UsageError(f"{text!r}: the range runs backwards")
        keys.update((f"{port}/{protocol}", None) for port in range(start, end + 1))
    return tuple(keys)


def parse_key(text: str) -> tuple[int, str]:
    """Read one container port, `80` or `80/udp`."""
    body, protocol = _protocol(text)
    return _port(text, body), protocol


def is_ipv4(text: str) -> bool:
    """Tell whether a text is a dotted IPv4 address."""
    parts = text.split(".")
    return len(parts) == _IPV4_PARTS and all(
        part.isascii() and part.isdigit() and int(part) < 256  # noqa: PLR2004
        for part in parts
    )


def _protocol(text: str) -> tuple[str, str]:
    body, slash, protocol = text.rpartition("/")
    if not slash:
        return text, "tcp"
    if protocol.lower() not in PROTOCOLS:
        raise UsageError(f"{text!r}: {protocol!r} is not a protocol", fix="use tcp, udp or sctp")
    return body, protocol.lower()


def _port(text: str, word: str) -> int:
    if not (word.isascii() and word.isdigit()) or not 0 < int(word) <= _MAX_PORT:
        raise UsageError(f"{text!r}: {word!r} is not a port", fix="ports run from 1 to 65535")
    return int(word)
