"""Packet filter and address translation by nf_tables over netlink: no program is needed for it.

Every bridge has one table of its own, which keeps its network apart from others and masks its
addresses outwards; every container with published ports has another, owned by the process that
watches over it, so that the kernel removes it when that process ends, however it ends.

Spec: linux/netfilter/nf_tables.h; nft(8) for the meaning of hooks and priorities.
"""

from _socket import AF_INET, inet_aton
from _struct import pack

from builder.errors import KernelError
from builder.networks.netlink import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    NetlinkSocket,
    attribute,
    nested,
    text,
)
from builder.values import NamedTuple

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10
_NEWTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE = 0, 2, 3, 6
_BATCH_BEGIN, _BATCH_END = 16, 17
_TABLE_OWNER = 2
_PRE_ROUTING, _FORWARD, _LOCAL_OUT, _POST_ROUTING = 0, 2, 3, 4
_DNAT_PRIORITY, _FILTER_PRIORITY, _SNAT_PRIORITY = -100, 0, 100
_DROP, _ACCEPT = 0, 1
_VERDICT_REGISTER, _REGISTER, _REGISTER_2 = 0, 1, 2
_CT_STATE, _CT_STATUS = 0, 2
_STATE_ESTABLISHED_RELATED = 2 | 4
_STATUS_DNAT = 1 << 5
_IFNAME_BYTES = 16
_META_IIFNAME, _META_OIFNAME, _META_L4PROTO = 6, 7, 16
_EQUAL, _NOT_EQUAL = 0, 1
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_ENOENT, _EEXIST = 2, 17

Rule = tuple[bytes, ...]
"""Expressions, evaluated in order until one does not match."""


class Redirect(NamedTuple):
    """A published port: what arrives for `host_ip`:`host_port` goes to the container.

    `host_ip` 0.0.0.0 means every address of the host but loopback.
    """

    protocol: str
    host_ip: str
    host_port: int
    container_ip: str
    container_port: int
    bridge: str = ""
    """What comes from here itself is left to the proxy: the answer would take another way."""


class Firewall(NetlinkSocket):
    """Changes to nf_tables, each of them one transaction; owned tables live as long as this."""

    def __init__(self) -> None:
        """Open the socket in the calling thread's network namespace."""
        super().__init__(_NETLINK_NETFILTER)

    def guard_bridge(
        self, bridge: str, network: str, prefix_length: int, *, is_internal: bool
    ) -> None:
        """Install a bridge's table: masquerading outwards, nothing unasked inwards."""
        table = table_of(bridge)
        messages = [
            (_NEWTABLE, text(1, table)),
            (_NEWCHAIN, _chain(table, "forward", "filter", _FORWARD, _FILTER_PRIORITY)),
            *(_rule(table, "forward", rule) for rule in _forward(bridge, is_internal=is_internal)),
        ]
        if not is_internal:
            masked = (
                *_in_network(network, prefix_length),
                *_interface(_META_OIFNAME, bridge, is_equal=False),
                _expression("masq"),
            )
            chain = _chain(table, "postrouting", "nat", _POST_ROUTING, _SNAT_PRIORITY)
            messages += [(_NEWCHAIN, chain), _rule(table, "postrouting", masked)]
        try:
            self._commit(messages)
        except KernelError as error:
            if error.errno != _EEXIST:
                raise
            self.remove(bridge)
            self._commit(messages)

    def publish(self, name: str, redirects: list[Redirect]) -> None:
        """Install an owned table that redirects published ports, also for the host's own calls."""
        table = table_of(name)
        messages = [
            (_NEWTABLE, text(1, table) + attribute(2, pack(">I", _TABLE_OWNER))),
            (_NEWCHAIN, _chain(table, "prerouting", "nat", _PRE_ROUTING, _DNAT_PRIORITY)),
            (_NEWCHAIN, _chain(table, "output", "nat", _LOCAL_OUT, _DNAT_PRIORITY)),
        ]
        for redirect in redirects:
            messages += [
                _rule(table, "prerouting", (*_from_elsewhere(redirect), *_redirection(redirect))),
                _rule(table, "output", _redirection(redirect)),
            ]
        self._commit(messages)

    def remove(self, name: str) -> None:
        """Remove the table of a bridge or container; nothing if there is none."""
        try:
            self._commit([(_DELTABLE, text(1, table_of(name)))])
        except KernelError as error:
            if error.errno != _ENOENT:
                raise

    def _commit(self, messages: list[tuple[int, bytes]]) -> None:
        """Send one batch; the kernel takes all of it or nothing."""
        header = pack(">BBH", 0, 0, _SUBSYSTEM)
        batch = [self.message(_BATCH_BEGIN, NLM_F_REQUEST, header)]
        for position, (kind, body) in enumerate(messages):
            flags = NLM_F_REQUEST | NLM_F_CREATE
            if kind == _NEWTABLE:
                flags |= NLM_F_EXCL  # to replace one costs 15 ms at the close of the socket
            elif kind == _NEWRULE:
                flags |= NLM_F_APPEND
            if position == len(messages) - 1:
                flags |= NLM_F_ACK
            full = pack(">BBH", AF_INET, 0, 0) + body
            batch.append(self.message(_SUBSYSTEM << 8 | kind, flags, full))
        acknowledged = self._sequence
        batch.append(self.message(_BATCH_END, NLM_F_REQUEST, header))
        self.send(b"".join(batch))
        self._sequence = acknowledged
        self.replies(what="nf_tables")


def table_of(name: str) -> str:
    """Name the table of a bridge or container."""
    return f"builder-{name}"


def _forward(bridge: str, *, is_internal: bool) -> list[Rule]:
    inwards = _interface(_META_OIFNAME, bridge)
    outwards = _interface(_META_IIFNAME, bridge)
    rules: list[Rule] = [(*inwards, *outwards, _verdict(_ACCEPT))]
    if is_internal:
        return [*rules, (*outwards, _verdict(_DROP)), (*inwards, _verdict(_DROP))]
    return [
        *rules,
        (*inwards, *_conntrack(_CT_STATE, _STATE_ESTABLISHED_RELATED), _verdict(_ACCEPT)),
        (*inwards, *_conntrack(_CT_STATUS, _STATUS_DNAT), _verdict(_ACCEPT)),
        (*inwards, _verdict(_DROP)),
    ]


def _from_elsewhere(redirect: Redirect) -> Rule:
    return _interface(_META_IIFNAME, redirect.bridge, is_equal=False) if redirect.bridge else ()


def _redirection(redirect: Redirect) -> Rule:
    if redirect.host_ip == "0.0.0.0":  # noqa: S104 - compared, not bound
        target = (*_is_local_address(), *_not_loopback())
    else:
        target = (_payload(1, 16, 4), _compare(inet_aton(redirect.host_ip)))
    return (
        *target,
        _expression("meta", _be(1, _REGISTER), _be(2, _META_L4PROTO)),
        _compare(bytes([_PROTOCOLS[redirect.protocol]])),
        _payload(2, 2, 2),
        _compare(pack(">H", redirect.host_port)),
        _immediate(_REGISTER, inet_aton(redirect.container_ip)),
        _immediate(_REGISTER_2, pack(">H", redirect.container_port)),
        _expression("nat", _be(1, 1), _be(2, AF_INET), _be(3, _REGISTER), _be(5, _REGISTER_2)),
    )


def _is_local_address() -> Rule:
    local = 2  # RTN_LOCAL
    destination, address_type = 2, 3
    fib = _expression("fib", _be(1, _REGISTER), _be(2, address_type), _be(3, destination))
    return (fib, _compare(pack("=I", local)))


def _not_loopback() -> Rule:
    return (_payload(1, 16, 1), _compare(bytes([127]), is_equal=False))


def _in_network(network: str, prefix_length: int) -> Rule:
    mask = (0xFFFFFFFF << (32 - prefix_length) & 0xFFFFFFFF).to_bytes(4, "big")
    masked = _expression(
        "bitwise",
        _be(1, _REGISTER),
        _be(2, _REGISTER),
        _be(3, 4),
        nested(4, attribute(1, mask)),
        nested(5, attribute(1, bytes(4))),
    )
    return (_payload(1, 12, 4), masked, _compare(inet_aton(network)))


def _interface(key: int, name: str, *, is_equal: bool = True) -> Rule:
    padded = name.encode().ljust(_IFNAME_BYTES, b"\0")
    load = _expression("meta", _be(1, _REGISTER), _be(2, key))
    return (load, _compare(padded, is_equal=is_equal))


def _conntrack(key: int, bits: int) -> Rule:
    """Match if any of the bits is set; the kernel keeps both words in its own byte order."""
    mask = pack("=I", bits)
    return (
        _expression("ct", _be(1, _REGISTER), _be(2, key)),
        _expression(
            "bitwise",
            _be(1, _REGISTER),
            _be(2, _REGISTER),
            _be(3, 4),
            nested(4, attribute(1, mask)),
            nested(5, attribute(1, bytes(4))),
        ),
        _compare(bytes(4), is_equal=False),
    )


def _chain(table: str, name: str, kind: str, hook: int, priority: int) -> bytes:
    hooked = nested(4, _be(1, hook), attribute(2, pack(">i", priority)))
    return text(1, table) + text(3, name) + hooked + _be(5, _ACCEPT) + text(7, kind)


def _rule(table: str, chain: str, expressions: Rule) -> tuple[int, bytes]:
    listed = nested(4, *(attribute(1 | 0x8000, expression) for expression in expressions))
    return _NEWRULE, text(1, table) + text(2, chain) + listed


def _expression(name: str, *parts: bytes) -> bytes:
    return text(1, name) + nested(2, *parts)


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", _be(1, _REGISTER), _be(2, base), _be(3, offset), _be(4, length))


def _compare(value: bytes, *, is_equal: bool = True) -> bytes:
    operator = _EQUAL if is_equal else _NOT_EQUAL
    return _expression("cmp", _be(1, _REGISTER), _be(2, operator), nested(3, attribute(1, value)))


def _immediate(register: int, value: bytes) -> bytes:
    return _expression("immediate", _be(1, register), nested(2, attribute(1, value)))


def _verdict(code: int) -> bytes:
    verdict = nested(2, _be(1, code))
    return _expression("immediate", _be(1, _VERDICT_REGISTER), nested(2, verdict))


def _be(kind: int, value: int) -> bytes:
    return attribute(kind, pack(">I", value))
