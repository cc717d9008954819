"""What stands between a client and a registry: TLS with client certificates, and HTTP proxies."""

import base64
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

HOST = "0.0.0.0"
_HEAD_BYTES = 1 << 16
_PIECE_BYTES = 1 << 16
_WAIT_S = 20


class Certificates(NamedTuple):
    """PEM files: an authority, a server's and a client's certificates by it, and a stranger's."""

    directory: Path

    @property
    def authority(self) -> Path:
        return self.directory / "ca.pem"

    def pair(self, name: str) -> tuple[Path, Path]:
        """Give the certificate and the key of `server`, `client` or `stranger`."""
        return self.directory / f"{name}.pem", self.directory / f"{name}.key"


def certificates(directory: Path) -> Certificates:
    """Make everything anew by openssl."""
    names = f"subjectAltName=IP:127.0.0.1,IP:{HOST},DNS:registry.test"
    _openssl(directory, "ca", "-x509", "-days", "2", "-subj", "/CN=authority")
    _openssl(directory, "other", "-x509", "-days", "2", "-subj", "/CN=other")
    for name, issuer in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        signed = ["-x509", "-days", "2", "-CA", f"{issuer}.pem", "-CAkey", f"{issuer}.key"]
        _openssl(directory, name, *signed, "-subj", f"/CN={name}", "-addext", names)
    return Certificates(directory)


def _openssl(directory: Path, name: str, *words: str) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    out = ["-keyout", f"{name}.key", "-out", f"{name}.pem"]
    made = ["openssl", "req", *key, *out, *words]
    subprocess.run(made, cwd=directory, check=True, capture_output=True)


class Relay:
    """Takes connections on loopback and has each served by a thread until the block ends."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                connection.settimeout(_WAIT_S)
                threading.Thread(target=self._served, args=(connection,), daemon=True).start()

    def _served(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self._serve(connection)


@contextmanager
def relay(serve: Callable[[socket.socket], None]) -> Iterator[Relay]:
    running = Relay(serve)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def tls_before(upstream: str, made: Certificates, *, is_mutual: bool = True) -> Iterator[Relay]:
    """Speak TLS before a plain server; `is_mutual` asks clients for a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made.pair("server"))
    if is_mutual:
        context.load_verify_locations(made.authority)
        context.verify_mode = ssl.CERT_REQUIRED

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as plain, _to(upstream) as behind:
            _pumped(plain, behind)

    with relay(serve) as running:
        yield running


class Proxy:
    """An HTTP proxy: CONNECT for tunnels, whole URLs for plain HTTP. Remembers what was asked."""

    def __init__(self, known: Mapping[str, str], login: str = "", refusal: str = "") -> None:
        """`known` says where names lead; `login` is `user:password`, for those who must show it."""
        self._known = known
        self._login = login
        self._refusal = refusal
        self.asked: list[str] = []

    def serve(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _HEAD_BYTES:
            piece = connection.recv(_PIECE_BYTES)
            if not piece:
                return
            head += piece
        first, _, rest = head.partition(b"\r\n")
        method, target, _ = first.decode().split(" ")
        self.asked.append(f"{method} {target}")
        if self._refusal:
            connection.sendall(f"HTTP/1.1 {self._refusal}\r\nContent-Length: 0\r\n\r\n".encode())
        elif self._login and not self._is_shown(rest):
            connection.sendall(
                b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n"
                b'Proxy-Authenticate: Basic realm="proxy"\r\n\r\n'
            )
        elif method == "CONNECT" and target not in self._known:
            connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        elif method == "CONNECT":
            with _to(self._known[target]) as behind:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _pumped(connection, behind)
        else:
            self._forward(connection, method, target, rest)

    def _is_shown(self, head: bytes) -> bool:
        wanted = base64.b64encode(self._login.encode())
        return b"proxy-authorization: basic " + wanted.lower() in head.lower()

    def _forward(self, connection: socket.socket, method: str, target: str, rest: bytes) -> None:
        """Forward the requests of one connection to the host of the first."""
        host, slash, path = target.removeprefix("http://").partition("/")
        with _to(self._known[host]) as behind:
            closed = rest.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
            behind.sendall(f"{method} {slash}{path} HTTP/1.1\r\n".encode() + closed)
            _pumped(connection, behind)


def _to(place: str) -> socket.socket:
    host, _, port = place.rpartition(":")
    return socket.create_connection((host, int(port)), _WAIT_S)


def _pumped(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until either side has ended."""
    back = threading.Thread(target=_carried, args=(other, one), daemon=True)
    back.start()
    _carried(one, other)
    back.join(_WAIT_S)


def _carried(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE_BYTES):
            target.sendall(piece)
    for end in (source, target):
        with suppress(OSError):
            socket.socket.shutdown(end, socket.SHUT_RDWR)
