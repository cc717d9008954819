"""Those attached to a container: callers of `run -it`, `attach`, `wait`, on a socket of its own."""

import os
import time
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM
from _socket import socket as _socket
from collections.abc import Callable

from builder.containers import frames
from builder.errors import Conflict, KernelError
from builder.kernel.loop import READABLE, WRITABLE, Loop

SOCKET = "attach.sock"
_BACKLOG = 64
_PAUSE_S = 0.01
_CHUNK_BYTES = 64 << 10
_HIGH_WATER_BYTES = 1 << 20
"""A reader that is so far behind holds the container's output up."""


class Clients:
    """The monitor's side: accepts, passes output to everyone, and input to the container."""

    def __init__(
        self,
        loop: Loop,
        *,
        on_input: Callable[[bytes], None],
        on_input_end: Callable[[], None],
        on_resize: Callable[[int, int], None],
        on_flow: Callable[[], None],
    ) -> None:
        """Serve within a loop. `on_flow` is called when no reader is behind any more."""
        self.loop = loop
        self.on_input = on_input
        self.on_input_end = on_input_end
        self.on_resize = on_resize
        self._on_flow = on_flow
        self._listening: _socket | None = None
        self._clients: list[_Client] = []

    @property
    def is_congested(self) -> bool:
        """Whether a reader is too far behind."""
        return any(client.held_bytes > _HIGH_WATER_BYTES for client in self._clients)

    def listen(self, directory: str) -> None:
        """Accept at `attach.sock` in a container's directory; raise KernelError."""
        listening = _socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _unlink(f"{directory}/{SOCKET}")
            listening.bind(f"/proc/self/fd/{fd}/{SOCKET}")  # a path has at most 107 bytes
            listening.listen(_BACKLOG)
        except OSError as error:
            listening.close()
            raise KernelError("bind", error.errno or 0, f"{directory}/{SOCKET}") from None
        finally:
            os.close(fd)
        self._listening = listening
        self.loop.watch(listening.fileno(), READABLE, self._accept)

    def add(self, connection: _socket, *, wants_output: bool) -> None:
        """Serve a connection that is made already."""
        connection.setblocking(False)  # noqa: FBT003
        client = _Client(self, connection)
        client.wants_output = wants_output
        self._clients.append(client)

    def send(self, kind: int, content: bytes) -> None:
        """Pass output to everyone who wants it."""
        for client in tuple(self._clients):
            if client.wants_output:
                client.send(frames.frame(kind, content))

    def pause_input(self) -> None:
        """Leave what clients send where it is."""
        for client in self._clients:
            client.pause()

    def resume_input(self) -> None:
        """Take input again."""
        for client in self._clients:
            client.listen()

    def tell_exit(self, status: int) -> None:
        """Tell everyone that the main process ended; they hang up."""
        for client in tuple(self._clients):
            client.send(frames.frame(frames.EXIT, str(status).encode()))

    def close(self) -> None:
        """Send what is left, blocking a little, and hang up."""
        if self._listening is not None:
            self.loop.unwatch(self._listening.fileno())
            self._listening.close()
        for client in tuple(self._clients):
            client.finish()

    def drop(self, client: "_Client") -> None:
        """Forget a client that hung up."""
        if client in self._clients:
            self._clients.remove(client)
        self.relieve()

    def relieve(self) -> None:
        """Say that output may flow again, if so."""
        if not self.is_congested:
            self._on_flow()

    def _accept(self) -> None:
        if self._listening is None:
            return
        try:
            fd, _address = self._listening._accept()  # type: ignore[attr-defined]  # noqa: SLF001 - as socket.accept does
        except OSError:
            return
        self.add(_socket(fileno=fd), wants_output=False)


class _Client:
    """One connection."""

    def __init__(self, clients: Clients, connection: _socket) -> None:
        self.wants_output = False
        self._clients = clients
        self._connection = connection
        self._decoder = frames.Decoder()
        self._held = bytearray()
        self.listen()

    def listen(self) -> None:
        """Take what the client says."""
        self._clients.loop.watch(self._connection.fileno(), READABLE, self._receive)

    def pause(self) -> None:
        """Let the client wait."""
        self._clients.loop.unwatch(self._connection.fileno(), READABLE)

    @property
    def held_bytes(self) -> int:
        return len(self._held)

    def send(self, content: bytes) -> None:
        was_idle = not self._held
        self._held += content
        if was_idle:
            self._flush()

    def finish(self) -> None:
        """Send the rest, however long it takes up to some seconds, then hang up."""
        self._clients.loop.unwatch(self._connection.fileno())
        self._connection.settimeout(10.0)
        try:
            self._connection.sendall(self._held)
        except OSError:
            pass
        finally:
            self._connection.close()

    def _flush(self) -> None:
        fd = self._connection.fileno()
        try:
            sent = self._connection.send(self._held)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._hang_up()
            return
        del self._held[:sent]
        if self._held:
            self._clients.loop.watch(fd, WRITABLE, self._flush)
            return
        self._clients.loop.unwatch(fd, WRITABLE)
        self._clients.relieve()

    def _receive(self) -> None:
        try:
            content = self._connection.recv(_CHUNK_BYTES)
            if not content:
                self._hang_up()
                return
            for kind, body in self._decoder.feed(content):
                self._take(kind, body)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._hang_up()

    def _take(self, kind: int, body: bytes) -> None:
        if kind == frames.HELLO:
            self.wants_output = b"output" in body.split()
        elif kind == frames.STDIN:
            self._clients.on_input(body)
        elif kind == frames.STDIN_END:
            self._clients.on_input_end()
        elif kind == frames.RESIZE:
            self._clients.on_resize(*frames.parse_size(body))

    def _hang_up(self) -> None:
        self._clients.loop.unwatch(self._connection.fileno())
        self._connection.close()
        self._held.clear()
        self._clients.drop(self)


def dial(directory: str, *, patience_s: float = 0.0) -> _socket:
    """Connect to a container's monitor; raise Conflict if it does not answer.

    One that has just started its container may not listen yet: be patient.
    """
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            return _dialled(directory)
        except Conflict:
            if time.monotonic() >= deadline_s or not os.path.isdir(directory):
                raise
        time.sleep(_PAUSE_S)


def _dialled(directory: str) -> _socket:
    connection = _socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{fd}/{SOCKET}")
    except OSError:
        connection.close()
        raise Conflict("the container is not running", fix="start it first") from None
    finally:
        os.close(fd)
    return connection


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
