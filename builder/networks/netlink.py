"""Links, addresses and routes by rtnetlink: the few requests that containers need.

A socket speaks for the network namespace it was made in, whatever its thread does later. One
request is one datagram, acknowledged by the kernel; nothing is kept between requests.

Spec: rtnetlink(7), netlink(7), linux/if_link.h.
"""

import os
from _socket import AF_INET, AF_NETLINK, SOCK_CLOEXEC, SOCK_RAW, inet_aton
from _socket import socket as _socket
from _struct import pack, unpack_from
from typing import Self

from builder.errors import KernelError
from builder.values import NamedTuple

NETLINK_ROUTE = 0
NLM_F_REQUEST = 1
NLM_F_ACK = 4
NLM_F_DUMP = 0x300
NLM_F_CREATE = 0x400
NLM_F_EXCL = 0x200
NLM_F_APPEND = 0x800
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLA_F_NESTED = 0x8000
_NLA_TYPE = 0x3FFF
_RECEIVE_BYTES = 1 << 16

_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK, _RTM_SETLINK = 16, 17, 18, 19
_RTM_NEWADDR, _RTM_DELADDR, _RTM_GETADDR = 20, 21, 22
_RTM_NEWROUTE, _RTM_DELROUTE, _RTM_GETROUTE = 24, 25, 26
_IFF_UP = 1
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER = 1, 3, 4, 10
_IFLA_LINKINFO, _IFLA_IFALIAS, _IFLA_NET_NS_FD = 18, 20, 28
_MAX_ALIAS_BYTES = 255
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_VETH_INFO_PEER = 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE = 1, 4, 5, 15
_RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 3, 0, 1
_LO_INDEX = 1


def attribute(kind: int, content: bytes) -> bytes:
    """Encode one attribute, padded to four bytes."""
    return pack("=HH", 4 + len(content), kind) + content + bytes(-len(content) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Encode attributes inside of one."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def text(kind: int, value: str) -> bytes:
    """Encode a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def number(kind: int, value: int) -> bytes:
    """Encode 32 bits in the machine's own order."""
    return attribute(kind, pack("=I", value))


def attributes(content: bytes, offset: int) -> dict[int, bytes]:
    """Decode the attributes that follow a message's fixed part."""
    found = {}
    while offset + 4 <= len(content):
        length, kind = unpack_from("=HH", content, offset)
        if length < 4:  # noqa: PLR2004 - the header itself
            break
        found[kind & _NLA_TYPE] = content[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


class NetlinkSocket:
    """A socket of one netlink family; a context manager."""

    def __init__(self, family: int) -> None:
        """Open the socket in the calling thread's network namespace."""
        try:
            self._socket = _socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, family)
        except OSError as error:
            raise KernelError("socket", error.errno or 0, "AF_NETLINK") from None
        self._sequence = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Close the socket."""
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def message(self, kind: int, flags: int, body: bytes) -> bytes:
        """Frame one message under the next sequence number."""
        self._sequence += 1
        return pack("=IHHII", 16 + len(body), kind, flags, self._sequence, 0) + body

    def request(self, kind: int, flags: int, body: bytes, *, what: str) -> list[bytes]:
        """Send one request and gather its replies; raise KernelError naming `what` if refused."""
        is_dump = flags & NLM_F_DUMP == NLM_F_DUMP
        extra = 0 if is_dump else NLM_F_ACK
        self._socket.send(self.message(kind, flags | NLM_F_REQUEST | extra, body))
        return self.replies(what=what)

    def send(self, content: bytes) -> None:
        """Send messages that are framed already."""
        self._socket.send(content)

    def replies(self, *, what: str) -> list[bytes]:
        """Receive up to the acknowledgement; the bodies of the replies before it.

        Raises KernelError.
        """
        found: list[bytes] = []
        while True:
            content = self._socket.recv(_RECEIVE_BYTES)
            offset = 0
            while offset + 16 <= len(content):
                length, kind, _flags, sequence = unpack_from("=IHHI", content, offset)
                body = content[offset + 16 : offset + length]
                offset += (length + 3) & ~3
                if sequence != self._sequence and kind != NLMSG_ERROR:
                    continue
                if kind == NLMSG_DONE:
                    return found
                if kind == NLMSG_ERROR:
                    (code,) = unpack_from("=i", body)
                    if code:
                        raise KernelError("netlink", -code, what)
                    if sequence == self._sequence:
                        return found
                    continue
                found.append(body)


class Link(NamedTuple):
    """A network interface."""

    ifindex: int
    name: str
    master: int = 0
    alias: str = ""
    """Free text of who made it: for our bridges, their state directory."""


class Address(NamedTuple):
    """An IPv4 address of a link."""

    ifindex: int
    address: str
    prefix_length: int


class Routes(NetlinkSocket):
    """Requests on links, IPv4 addresses and routes."""

    def __init__(self) -> None:
        """Open the socket in the calling thread's network namespace."""
        super().__init__(NETLINK_ROUTE)

    def link(self, name: str) -> Link | None:
        """Find a link by its name."""
        try:
            body = _link_header() + text(_IFLA_IFNAME, name)
            replies = self.request(_RTM_GETLINK, 0, body, what=name)
        except KernelError as error:
            if error.errno == 19:  # noqa: PLR2004 - ENODEV
                return None
            raise
        return _link(replies[0]) if replies else None

    def links(self) -> list[Link]:
        """List the links."""
        body = _link_header()
        return [_link(r) for r in self.request(_RTM_GETLINK, NLM_F_DUMP, body, what="links")]

    def add_bridge(self, name: str, *, mtu: int = 0, mac: bytes = b"") -> int:
        """Make a bridge that is up; its index."""
        parts = [text(_IFLA_IFNAME, name)]
        if mtu:
            parts.append(number(_IFLA_MTU, mtu))
        if mac:
            parts.append(attribute(_IFLA_ADDRESS, mac))
        parts.append(nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "bridge")))
        body = _link_header(flags=_IFF_UP) + b"".join(parts)
        self.request(_RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, what=f"bridge {name}")
        return self._index(name)

    def add_veth(
        self, name: str, *, master: int, peer: str, peer_namespace: int, mac: bytes, mtu: int = 0
    ) -> None:
        """Make a pair: `name` here, up and in a bridge; `peer` in a namespace (fd), still down."""
        size = number(_IFLA_MTU, mtu) if mtu else b""
        other = _link_header() + b"".join(
            (
                text(_IFLA_IFNAME, peer),
                attribute(_IFLA_ADDRESS, mac),
                number(_IFLA_NET_NS_FD, peer_namespace),
                size,
            )
        )
        pair = nested(_IFLA_INFO_DATA, attribute(_VETH_INFO_PEER | NLA_F_NESTED, other))
        info = nested(_IFLA_LINKINFO, text(_IFLA_INFO_KIND, "veth"), pair)
        body = (
            _link_header(flags=_IFF_UP)
            + text(_IFLA_IFNAME, name)
            + number(_IFLA_MASTER, master)
            + size
            + info
        )
        self.request(_RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body, what=f"veth {name}")

    def set_alias(self, ifindex: int, alias: str) -> None:
        """Attach a free text to a link, as long as the kernel takes it (255 bytes)."""
        content = os.fsencode(alias)
        if len(content) <= _MAX_ALIAS_BYTES:
            body = _link_header(ifindex) + attribute(_IFLA_IFALIAS, content)
            self.request(_RTM_SETLINK, 0, body, what="alias")

    def delete(self, name: str) -> None:
        """Delete a link, and with it its pair; nothing if there is none."""
        link = self.link(name)
        if link is None:
            return
        try:
            self.request(_RTM_DELLINK, 0, _link_header(link.ifindex), what=f"link {name}")
        except KernelError as error:
            if error.errno != 19:  # noqa: PLR2004 - ENODEV: somebody else was faster
                raise

    def set_up(self, name: str) -> int:
        """Bring a link up; its index."""
        index = _LO_INDEX if name == "lo" else self._index(name)
        self.request(_RTM_SETLINK, 0, _link_header(index, flags=_IFF_UP), what=f"link {name}")
        return index

    def add_address(self, index: int, address: str, prefix_length: int) -> None:
        """Give a link an IPv4 address."""
        packed = inet_aton(address)
        host_bits = 32 - prefix_length
        broadcast = int.from_bytes(packed, "big") | ((1 << host_bits) - 1)
        body = pack("=BBBBI", AF_INET, prefix_length, 0, 0, index) + b"".join(
            (
                attribute(_IFA_LOCAL, packed),
                attribute(_IFA_ADDRESS, packed),
                attribute(_IFA_BROADCAST, broadcast.to_bytes(4, "big")),
            )
        )
        self.request(_RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, body, what=f"address {address}")

    def addresses(self) -> list[Address]:
        """List the IPv4 addresses of all links."""
        body = pack("=BBBBI", AF_INET, 0, 0, 0, 0)
        found = []
        for reply in self.request(_RTM_GETADDR, NLM_F_DUMP, body, what="addresses"):
            _family, length, _f, _s, index = unpack_from("=BBBBI", reply)
            parts = attributes(reply, 8)
            packed = parts.get(_IFA_LOCAL) or parts.get(_IFA_ADDRESS) or bytes(4)
            found.append(Address(index, _dotted(packed), length))
        return found

    def add_default_route(self, gateway: str) -> None:
        """Send everything unknown to a gateway."""
        body = pack(
            "=BBBBBBBBI",
            *(AF_INET, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_BOOT, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, 0),
        ) + attribute(_RTA_GATEWAY, inet_aton(gateway))
        self.request(_RTM_NEWROUTE, NLM_F_CREATE, body, what=f"route via {gateway}")

    def destinations(self) -> list[tuple[str, int, int]]:
        """List the main table's IPv4 destinations as (network, prefix length, link index)."""
        body = pack("=BBBBBBBBI", AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        found = []
        for reply in self.request(_RTM_GETROUTE, NLM_F_DUMP, body, what="routes"):
            prefix_length, table = reply[1], reply[4]
            parts = attributes(reply, 12)
            index = unpack_from("=I", parts.get(_RTA_OIF, bytes(4)))[0]
            if table == _RT_TABLE_MAIN:
                found.append((_dotted(parts.get(_RTA_DST, bytes(4))), prefix_length, index))
        return found

    def _index(self, name: str) -> int:
        link = self.link(name)
        if link is None:
            raise KernelError("netlink", 19, f"link {name}")
        return link.ifindex


def interface_mtu(name: str) -> int:
    """Read a link's MTU from sysfs; 0 if there is no such link."""
    try:
        with open(f"/sys/class/net/{name}/mtu", encoding="utf-8") as file:
            return int(file.read())
    except OSError:
        return 0


def mac_of(address: str) -> bytes:
    """Derive a container's MAC from its address, 02:42 and the four bytes, as Docker does."""
    return b"\x02\x42" + inet_aton(address)


def mac_text(mac: bytes) -> str:
    """Write a MAC in the usual form."""
    return ":".join(f"{byte:02x}" for byte in mac)


def own_namespace() -> int:
    """Open the calling thread's network namespace; the caller closes it."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _link_header(index: int = 0, *, flags: int = 0) -> bytes:
    return pack("=BBHiII", 0, 0, 0, index, flags, flags)


def _link(reply: bytes) -> Link:
    (index,) = unpack_from("=i", reply, 4)
    parts = attributes(reply, 16)
    master = unpack_from("=I", parts.get(_IFLA_MASTER, bytes(4)))[0]
    alias = os.fsdecode(parts.get(_IFLA_IFALIAS, b"").rstrip(b"\0"))
    return Link(index, parts.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(), master, alias)


def _dotted(packed: bytes) -> str:
    return ".".join(str(byte) for byte in packed[:4])
