"""Published ports for callers on the host itself: a small relay in a process of its own.

The packet filter cannot redirect what is sent to 127.0.0.1, and a container that calls its host's
address comes back to the same bridge; both end at the listening sockets here. That they listen
also reserves the port: a second container with the same one is refused.
"""

import errno
import os
from _socket import (
    AF_INET,
    SHUT_WR,
    SO_ERROR,
    SO_REUSEADDR,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_STREAM,
    SOL_SOCKET,
)
from _socket import socket as _socket

from builder.errors import Conflict, KernelError
from builder.kernel import syscalls
from builder.kernel.loop import READABLE, WRITABLE, Loop
from builder.networks.ports import ANY_ADDRESS, PortBinding
from builder.values import NamedTuple

_BACKLOG = 256
_CHUNK_BYTES = 128 << 10
_DATAGRAM_BYTES = 65_535
_IDLE_S = 90.0
_SIGKILL = 9
_NONBLOCKING = SOCK_NONBLOCK | SOCK_CLOEXEC


class Listener(NamedTuple):
    """A bound socket of the host, and the binding it serves."""

    socket: _socket
    binding: PortBinding


def listen(
    host_ip: str, first_port: int, last_port: int, *, container_port: int, protocol: str
) -> Listener:
    """Bind the first free port of a range, any port for 0; raise Conflict if none is free."""
    address = host_ip or ANY_ADDRESS
    for port in range(first_port, last_port + 1):
        kind = SOCK_STREAM if protocol == "tcp" else SOCK_DGRAM
        bound = _socket(AF_INET, kind | _NONBLOCKING)
        try:
            if protocol == "tcp":
                bound.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
            bound.bind((address, port))
            if protocol == "tcp":
                bound.listen(_BACKLOG)
        except OSError as error:
            bound.close()
            if error.errno != errno.EADDRINUSE:
                raise KernelError("bind", error.errno or 0, f"{address}:{port}") from None
            continue
        number = bound.getsockname()[1]
        return Listener(bound, PortBinding(container_port, protocol, address, number))
    ports = str(first_port) if first_port == last_port else f"{first_port}-{last_port}"
    raise Conflict(
        f"Bind for {address}:{ports} failed: port is already allocated",
        fix="stop what uses the port, or publish another one",
    )


def start(listeners: list[Listener], container_ip: str) -> int:
    """Fork the process that relays; its pid. It dies with the caller, which must not be threaded.

    The caller's copies of the sockets are closed.
    """
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
            if os.getppid() == parent:
                _relay(listeners, container_ip)
        finally:
            os._exit(0)
    for listener in listeners:
        listener.socket.close()
    return pid


def _relay(listeners: list[Listener], container_ip: str) -> None:
    keep = sorted({0, 1, 2, *(listener.socket.fileno() for listener in listeners)})
    quiet = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(quiet, fd)
    for low, high in zip(keep, [*keep[1:], 1 << 16], strict=True):
        os.closerange(low + 1, high)
    loop = Loop()
    for listener in listeners:
        target = (container_ip, listener.binding.container_port)
        if listener.binding.protocol == "tcp":
            _Acceptor(loop, listener.socket, target)
        else:
            _Datagrams(loop, listener.socket, target)
    while True:
        loop.turn()


class _Acceptor:
    """Takes connections and pairs each with one to the container."""

    def __init__(self, loop: Loop, listening: _socket, target: tuple[str, int]) -> None:
        self._loop = loop
        self._listening = listening
        self._target = target
        loop.watch(listening.fileno(), READABLE, self._accept)

    def _accept(self) -> None:
        try:
            fd, _address = self._listening._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - socket.socket.accept does just this
        except OSError:
            return
        caller = _socket(fileno=fd)
        caller.setblocking(False)  # noqa: FBT003
        called = _socket(AF_INET, SOCK_STREAM | _NONBLOCKING)
        code = called.connect_ex(self._target)
        if code not in {0, errno.EINPROGRESS}:
            caller.close()
            called.close()
            return
        self._loop.watch(called.fileno(), WRITABLE, lambda: self._connected(caller, called))

    def _connected(self, caller: _socket, called: _socket) -> None:
        self._loop.unwatch(called.fileno())
        if called.getsockopt(SOL_SOCKET, SO_ERROR):
            caller.close()
            called.close()
            return
        pair = _Pair(self._loop, caller, called)
        pair.begin()


class _Pair:
    """Two connections whose bytes go across; ends when both directions have."""

    def __init__(self, loop: Loop, caller: _socket, called: _socket) -> None:
        self._loop = loop
        self._sockets = (caller, called)
        self._held = [b"", b""]
        self._ended = [False, False]

    def begin(self) -> None:
        for side in (0, 1):
            self._listen(side)

    def _listen(self, side: int) -> None:
        fd = self._sockets[side].fileno()
        self._loop.watch(fd, READABLE, lambda: self._read(side))

    def _read(self, side: int) -> None:
        """Take what one side says and pass it on; wait for the other if it cannot take it."""
        try:
            content = self._sockets[side].recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        if not content:
            self._loop.unwatch(self._sockets[side].fileno(), READABLE)
            self._ended[side] = True
            self._finish(side)
            return
        self._held[side] = content
        self._write(side)

    def _write(self, side: int) -> None:
        other = self._sockets[1 - side]
        try:
            sent = other.send(self._held[side])
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close()
            return
        self._held[side] = self._held[side][sent:]
        if self._held[side]:
            self._loop.unwatch(self._sockets[side].fileno(), READABLE)
            self._loop.watch(other.fileno(), WRITABLE, lambda: self._write(side))
            return
        self._loop.unwatch(other.fileno(), WRITABLE)
        if not self._ended[side]:
            self._listen(side)

    def _finish(self, side: int) -> None:
        if all(self._ended):
            self._close()
            return
        try:
            self._sockets[1 - side].shutdown(SHUT_WR)
        except OSError:
            self._close()

    def _close(self) -> None:
        for each in self._sockets:
            self._loop.unwatch(each.fileno())
            each.close()


class _Datagrams:
    """Relays UDP: each caller gets a socket of its own towards the container, until it is idle."""

    def __init__(self, loop: Loop, listening: _socket, target: tuple[str, int]) -> None:
        self._loop = loop
        self._listening = listening
        self._target = target
        self._callers: dict[tuple[str, int], _socket] = {}
        self._timers: dict[tuple[str, int], int] = {}
        loop.watch(listening.fileno(), READABLE, self._inwards)

    def _inwards(self) -> None:
        try:
            content, address = self._listening.recvfrom(_DATAGRAM_BYTES)
        except OSError:
            return
        called = self._callers.get(address)
        if called is None:
            called = self._callers[address] = _socket(AF_INET, SOCK_DGRAM | _NONBLOCKING)
            called.connect(self._target)
            self._loop.watch(called.fileno(), READABLE, lambda: self._outwards(address))
        self._touch(address)
        try:
            called.send(content)
        except OSError:
            return

    def _outwards(self, address: tuple[str, int]) -> None:
        try:
            self._listening.sendto(self._callers[address].recv(_DATAGRAM_BYTES), address)
        except OSError:
            return
        self._touch(address)

    def _touch(self, address: tuple[str, int]) -> None:
        self._loop.cancel(self._timers.get(address, 0))
        self._timers[address] = self._loop.after(_IDLE_S, lambda: self._forget(address))

    def _forget(self, address: tuple[str, int]) -> None:
        called = self._callers.pop(address)
        del self._timers[address]
        self._loop.unwatch(called.fileno())
        called.close()
