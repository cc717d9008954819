"""The name server inside a container of a named network: 127.0.0.11, as in Docker.

It knows the containers of the networks that its own container is in, by name, alias, short id and
host name, and passes every other question on to the host's servers unchanged.

Spec: RFC 1035; A known name without an address of the kind asked for gives an empty answer.
"""

from _socket import (
    AF_INET,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOL_SOCKET,
    inet_aton,
)
from _socket import socket as _socket
from _struct import pack, unpack_from
from collections.abc import Callable, Sequence

from builder.kernel.loop import READABLE, Loop
from builder.networks.bridge import made_inside
from builder.networks.model import Endpoint
from builder.networks.resolver import EMBEDDED_SERVER
from builder.values import NamedTuple

PORT = 53
TTL_S = 600
_DATAGRAM_BYTES = 4096
_FORWARD_TIMEOUT_S = 5.0
_A, _PTR, _AAAA, _INTERNET = 1, 12, 28, 1
_HEADER_BYTES = 12
_ANSWER, _RECURSION, _SERVER_FAILURE = 0x8000, 0x0180, 2
_REVERSE = ".in-addr.arpa"
_MAX_LABEL = 63
_SHORT_ID = 12


class Question(NamedTuple):
    """The first question of a message; `end` is the offset just behind it."""

    identifier: int
    name: str
    kind: int
    end: int


class NameServer:
    """Answers on 127.0.0.11 in a network namespace, within a loop; UDP."""

    def __init__(
        self,
        loop: Loop,
        namespace: int,
        *,
        endpoints: Callable[[], Sequence[Endpoint]],
        upstream: Sequence[str],
    ) -> None:
        """Bind the server's socket. `endpoints` lists the containers that may be asked for."""
        self._loop = loop
        self._endpoints = endpoints
        self._upstream = tuple(upstream)
        self._socket = made_inside(namespace, _bound)
        loop.watch(self._socket.fileno(), READABLE, self._receive)

    def close(self) -> None:
        """Stop answering."""
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()

    def _receive(self) -> None:
        try:
            message, sender = self._socket.recvfrom(_DATAGRAM_BYTES)
        except OSError:
            return
        question = parse_question(message)
        if question is None:
            return
        reply = answer(message, question, self._endpoints())
        if reply is not None:
            self._reply(reply, sender)
        elif self._upstream:
            _Forwarded(self._loop, message, self._upstream, lambda r: self._reply(r, sender))
        else:
            self._reply(failure(message, question), sender)

    def _reply(self, reply: bytes, sender: tuple[str, int]) -> None:
        try:
            self._socket.sendto(reply, sender)
        except OSError:
            return


class _Forwarded:
    """A question that somebody else answers; the servers are asked one after the other."""

    def __init__(
        self, loop: Loop, message: bytes, servers: Sequence[str], done: Callable[[bytes], None]
    ) -> None:
        self._loop = loop
        self._message = message
        self._servers = list(servers)
        self._done = done
        self._ask()

    def _ask(self) -> None:
        server = self._servers.pop(0)
        self._socket = _socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        try:
            self._socket.connect((server, PORT))
            self._socket.send(self._message)
        except OSError:
            self._socket.close()
            self._next()
            return
        self._timer = self._loop.after(_FORWARD_TIMEOUT_S, self._give_up)
        self._loop.watch(self._socket.fileno(), READABLE, self._receive)

    def _receive(self) -> None:
        try:
            reply = self._socket.recv(_DATAGRAM_BYTES)
        except OSError:
            reply = b""
        self._close()
        if reply[:2] == self._message[:2]:
            self._done(reply)
        else:
            self._next()

    def _give_up(self) -> None:
        self._close()
        self._next()

    def _next(self) -> None:
        if self._servers:
            self._ask()
            return
        question = parse_question(self._message)
        if question is not None:
            self._done(failure(self._message, question))

    def _close(self) -> None:
        self._loop.cancel(self._timer)
        self._loop.unwatch(self._socket.fileno())
        self._socket.close()


def parse_question(message: bytes) -> Question | None:
    """Read a query's only question; None for anything else."""
    if len(message) < _HEADER_BYTES:
        return None
    identifier, flags, count = unpack_from(">HHH", message)
    if flags & _ANSWER or count != 1:
        return None
    labels, offset = [], _HEADER_BYTES
    while offset < len(message) and (length := message[offset]):
        if length > _MAX_LABEL:
            return None
        labels.append(message[offset + 1 : offset + 1 + length].decode("ascii", "replace"))
        offset += 1 + length
    if offset + 5 > len(message):
        return None
    kind, _class = unpack_from(">HH", message, offset + 1)
    return Question(identifier, ".".join(labels).lower(), kind, offset + 5)


def answer(message: bytes, question: Question, endpoints: Sequence[Endpoint]) -> bytes | None:
    """Answer what is ours to answer; None for a name that is not ours."""
    if question.kind == _PTR and question.name.endswith(_REVERSE):
        address = ".".join(reversed(question.name.removesuffix(_REVERSE).split(".")))
        names = [f"{e.owner_name}.{e.network}" for e in endpoints if e.address == address]
        return _message(message, question, [_encoded(n) for n in names[:1]]) if names else None
    found = [e.address for e in endpoints if question.name in known_names(e)]
    if not found:
        return None
    addresses = [inet_aton(a) for a in found] if question.kind == _A else []
    return _message(message, question, addresses)


def known_names(endpoint: Endpoint) -> set[str]:
    """Give the names, in lower case, by which a container is found in a network."""
    names = (endpoint.owner_name, endpoint.owner[:_SHORT_ID], *endpoint.aliases)
    plain = {name.lower() for name in names if name}
    return plain | {f"{name}.{endpoint.network.lower()}" for name in plain}


def failure(message: bytes, question: Question) -> bytes:
    """Say that no server could be asked."""
    return _message(message, question, [], code=_SERVER_FAILURE)


def _message(message: bytes, question: Question, contents: list[bytes], *, code: int = 0) -> bytes:
    flags = _ANSWER | _RECURSION | code
    header = pack(">HHHHHH", question.identifier, flags, 1, len(contents), 0, 0)
    pointer = 0xC000 | _HEADER_BYTES
    records = [
        pack(">HHHIH", pointer, question.kind, _INTERNET, TTL_S, len(content)) + content
        for content in contents
    ]
    return header + message[_HEADER_BYTES : question.end] + b"".join(records)


def _encoded(name: str) -> bytes:
    labels = [label.encode("ascii", "replace")[:_MAX_LABEL] for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _bound() -> _socket:
    bound = _socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
    bound.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
    bound.bind((EMBEDDED_SERVER, PORT))
    return bound
