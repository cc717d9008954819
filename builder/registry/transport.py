"""HTTP, one attempt at a time: connections, TLS, proxies, time-outs; urllib3 loads at the first.

No redirect is followed here, nothing is repeated, nothing is decoded: bytes are digested as sent.
"""

import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from builder import __version__
from builder.concurrency import CancelToken
from builder.errors import InvalidImage, NetworkError
from builder.registry.certificates import Tls
from builder.registry.hosts import bare_host, is_loopback
from builder.text import visible
from builder.values import NamedTuple

if TYPE_CHECKING:
    import socket
    import ssl

    import urllib3
    from urllib3 import BaseHTTPResponse as Response

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
PIECE_BYTES = 1 << 20
MAX_LEFTOVER_BYTES = 64 << 10
USER_AGENT = f"builder/{__version__}"
_SHOWN_BYTES = 300
_BLOCK_BYTES = 256 << 10


class Readable(Protocol):
    """A request's body that is not at hand as bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """Give up to `size` bytes."""
        ...


class Request(NamedTuple):
    """One request as it is sent."""

    method: str
    url: str
    headers: Mapping[str, str] = {}
    body: bytes | Readable | None = None
    tls: Tls = Tls()
    read_timeout_s: float = READ_TIMEOUT_S

    @property
    def shown(self) -> str:
        """Name it for an error: without the query, which may hold a secret."""
        return f"{self.method} {visible(self.url.partition('?')[0])[:_SHOWN_BYTES]}"


class Unreachable(NetworkError):
    """One attempt came to no answer.

    `is_lasting` if another would not either; `is_refused` if nobody listens, which may be so for a
    moment while a server starts.
    """

    def __init__(
        self,
        what: str,
        *,
        is_lasting: bool = False,
        is_refused: bool = False,
        fix: str | None = None,
    ) -> None:
        """Keep whether trying again is of any use."""
        super().__init__(what, fix=fix)
        self.is_lasting = is_lasting
        self.is_refused = is_refused


class Transport:
    """Pools of connections. Cancelling shuts down what is being read."""

    def __init__(self, environ: Mapping[str, str], token: CancelToken) -> None:
        """Keep the environment for its proxies; nothing is opened yet."""
        self._environ = environ
        self._pools: dict[tuple[Tls, str], urllib3.PoolManager] = {}
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self._token = token
        self._unregister = token.on_cancel(self._shut_down)

    def send(self, request: Request) -> "Response":
        """Send a request and read the head of its answer; the caller closes it by `finish`.

        Raises Unreachable.
        """
        import urllib3

        self._token.check()
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=request.read_timeout_s)
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers}
        try:
            response = self._pool(request).urlopen(
                request.method, request.url, body=request.body, headers=headers, timeout=timeout,
                retries=False, redirect=False, preload_content=False, decode_content=False,
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            self._token.check()
            proxy = shown_proxy(proxy_of(request.url, self._environ))
            through = f" through the proxy {proxy}" if proxy else ""
            raise unreachable(f"{request.shown}{through}", error) from None
        except (ValueError, OSError) as error:
            raise Unreachable(f"{request.shown}: {visible(str(error))}", is_lasting=True) from None
        return response

    def finish(self, response: "Response") -> None:
        """Let go of an answer: its connection is kept if hardly anything is left to read."""
        import urllib3

        try:
            if len(response.read(MAX_LEFTOVER_BYTES)) < MAX_LEFTOVER_BYTES:
                response.release_conn()
                return
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            pass
        response.close()

    def read(self, response: "Response", request: str, *, limit: int) -> bytes:
        """Read a small body whole and let go of the answer; InvalidImage if it is too long."""
        try:
            content = read_all(response, request, limit=limit)
        except BaseException:
            self.abandon(response)
            self._token.check()
            raise
        self.finish(response)
        return content

    def abandon(self, response: "Response") -> None:
        """Close an answer's connection."""
        response.close()

    def close(self) -> None:
        """Close all connections."""
        self._unregister()
        for pool in self._pools.values():
            pool.clear()

    def _shut_down(self) -> None:
        """End what is being waited for: whoever reads finds the end, and the token set."""
        import socket

        with self._lock:
            sockets = list(self._sockets)
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended by itself

    def _watch(self, connected: "socket.socket") -> None:
        with self._lock:
            self._sockets.add(connected)
        if self._token.is_cancelled:
            self._shut_down()

    def _pool(self, request: Request) -> "urllib3.PoolManager":
        proxy = proxy_of(request.url, self._environ)
        key = (request.tls, proxy)
        with self._lock:
            if key not in self._pools:
                self._pools[key] = _new_pool(request.tls, proxy)
                self._pools[key].pool_classes_by_scheme = _watched_pools(self._watch)
            return self._pools[key]


def read_piece(response: "Response", request: str) -> bytes:
    """Read what has come of the body, nothing at its end; raise Unreachable if it breaks off."""
    import urllib3

    try:
        return response.read1(PIECE_BYTES, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise unreachable(request, error) from None


def read_all(response: "Response", request: str, *, limit: int) -> bytes:
    """Read a small body whole; raise InvalidImage if there are more than `limit` bytes."""
    too_long = InvalidImage(f"{request}: the answer is larger than {limit} bytes")
    if content_length(response, 0) > limit and request[:4] != "HEAD":
        raise too_long
    content = bytearray()
    while piece := read_piece(response, request):
        content += piece
        if len(content) > limit:
            raise too_long
    return bytes(content)


def content_length(response: "Response", default: int = -1) -> int:
    """Read the announced length of a body; the default if there is none."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else default  # noqa: PLR2004 - beyond 64 bits


def unreachable(request: str, error: Exception) -> Unreachable:
    """Say in our words why an attempt failed, and whether it is lasting."""
    from urllib3 import exceptions

    text = visible(str(error))
    match error:
        case exceptions.NameResolutionError():
            is_lasting = "temporary" not in text.lower()
            return Unreachable(f"{request}: no such host", is_lasting=is_lasting)
        case exceptions.SSLError():
            return _tls_failure(request, text)
        case exceptions.ProxyError():
            return _proxy_failure(request, error.original_error)
        case exceptions.NewConnectionError():  # a kind of ConnectTimeoutError, so before it
            reason = text.rpartition(": ")[2]
            return Unreachable(f"{request}: {reason}", is_refused=True)
        case exceptions.ReadTimeoutError() | exceptions.ConnectTimeoutError():
            return Unreachable(f"{request}: timed out")
        case _:
            is_lasting = isinstance(error, exceptions.LocationParseError)
            return Unreachable(f"{request}: {text}", is_lasting=is_lasting)


def _tls_failure(request: str, text: str) -> Unreachable:
    """Tell our doubts about the server's certificate from the server's about ours."""
    if "alert" in text.lower():
        fix = "the host wants another client certificate: certs.d/HOST/client.cert and client.key"
        return Unreachable(f"{request}: TLS: {text}", is_lasting=True, fix=fix)
    fix = "add the authority to certs.d/HOST/ca.crt, or declare the host insecure"
    is_lasting = "certificate" in text.lower()
    return Unreachable(f"{request}: TLS: {text}", is_lasting=is_lasting, fix=fix)


def _proxy_failure(request: str, error: Exception) -> Unreachable:
    """Say what a proxy answered, or that it does not; what it refuses it will refuse again."""
    if not isinstance(error, OSError):
        inner = unreachable(request, error)
        fix = "check HTTPS_PROXY, or list the host in NO_PROXY"
        return Unreachable(inner.what, is_refused=inner.is_refused, fix=fix)
    text = visible(str(error)).removeprefix("Tunnel connection failed: ")
    fix = "check HTTPS_PROXY, or list the host in NO_PROXY"
    if text.startswith("407"):
        fix = "give the proxy's user and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT"
    is_lasting = text.startswith("4")
    return Unreachable(f"{request}: {text}", is_lasting=is_lasting, fix=fix)


def shown_proxy(proxy: str) -> str:
    """Name a proxy for people: without user and password."""
    scheme, separator, rest = proxy.partition("://")
    return visible(f"{scheme}{separator}{rest.rpartition('@')[2]}".rstrip("/"))


def proxy_of(url: str, environ: Mapping[str, str]) -> str:
    """Choose the proxy for a URL as curl does; empty for none. Loopback never has one."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0].rpartition("@")[2]
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    proxy = next((environ[name] for name in names if environ.get(name)), "")
    if not proxy or is_loopback(host):
        return ""
    listed = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if any(_is_exempt(bare_host(host), host, one.strip()) for one in listed.split(",")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def _is_exempt(name: str, host: str, listed: str) -> bool:
    listed = listed.lower()
    if not listed:
        return False
    if listed == "*" or listed in {name, host.lower()}:
        return True
    if "/" in listed and name.replace(".", "").isdigit():
        import ipaddress

        try:
            return ipaddress.ip_address(name) in ipaddress.ip_network(listed, strict=False)
        except ValueError:
            return False
    return name.endswith(f".{listed.removeprefix('*').lstrip('.')}")


def _new_pool(tls: Tls, proxy: str) -> "urllib3.PoolManager":
    import urllib3

    context = _context(tls)
    if not proxy:
        return urllib3.PoolManager(maxsize=8, blocksize=_BLOCK_BYTES, ssl_context=context)
    if not proxy.startswith(("http://", "https://")):
        raise NetworkError(
            f"the proxy {shown_proxy(proxy)} is of a kind that is not spoken here",
            fix="name one that begins with http:// or https://",
        )
    return urllib3.ProxyManager(
        shown_proxy(proxy), proxy_headers=_proxy_headers(proxy), maxsize=8,
        blocksize=_BLOCK_BYTES, ssl_context=context,
    )  # fmt: skip


def _proxy_headers(proxy: str) -> dict[str, str]:
    """Take user and password, percent-encoded as in every URL, out of a proxy's address."""
    import base64
    from urllib.parse import unquote

    user, at, _ = proxy.partition("://")[2].rpartition("@")
    if not at:
        return {}
    shown = base64.b64encode(unquote(user).encode()).decode()
    return {"Proxy-Authorization": f"Basic {shown}"}


def _watched_pools(watch: "Callable[[socket.socket], None]") -> dict[str, Any]:
    """Make pools whose connections tell of their sockets, so that cancelling can end a wait."""
    from urllib3 import connectionpool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            watch(self.sock)

    class Secure(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            watch(self.sock)

    class PlainPool(connectionpool.HTTPConnectionPool):
        ConnectionCls = Plain  # type: ignore[mutable-override]  # as urllib3 documents

    class SecurePool(connectionpool.HTTPSConnectionPool):
        ConnectionCls = Secure  # type: ignore[mutable-override]

    return {"http": PlainPool, "https": SecurePool}


def _context(tls: Tls) -> "ssl.SSLContext":
    import ssl

    context = ssl.create_default_context()
    try:
        for path in tls.authorities:
            context.load_verify_locations(os.path.abspath(path))
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join((*tls.authorities, tls.cert))
        raise NetworkError(f"a certificate could not be read: {error}: {files}") from None
    if not tls.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
