"""Requests to one endpoint: its scheme, authorization, redirects, and what is tried again.

An Authorization header belongs to one origin: a redirect elsewhere goes without. Redirects lead to
http and https only, never from TLS to plain HTTP, and never from a public registry into a private
network.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from builder.concurrency import CancelToken
from builder.errors import AuthenticationError, RegistryError
from builder.registry.auth import MAX_TOKEN_BYTES, Authorizer
from builder.registry.certificates import Tls
from builder.registry.credentials import Credentials
from builder.registry.failure import RETRIED, failure, with_request
from builder.registry.hosts import Endpoint, bare_host, is_loopback
from builder.registry.patience import Patience, retry_after_s
from builder.registry.transport import Readable, Request, Transport, Unreachable, read_all

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse as Response

MAX_REDIRECTS = 10
MAX_ROUNDS = 2
PROBE_TIMEOUT_S = 5.0
_UNAUTHORIZED = 401
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING_METHOD = frozenset({307, 308})
_WRONG_SCHEME = 400

Body = Callable[[], bytes | Readable]
"""Makes the body of a request, for each attempt anew."""


class Session:
    """One endpoint during one command; safe to use from several threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        transport: Transport,
        find: Callable[[], Credentials],
        token: CancelToken,
    ) -> None:
        """Keep the collaborators; nothing is sent yet."""
        self.endpoint = endpoint
        self.transport = transport
        self.token = token
        self.authorizer = Authorizer(find, self._ask_token_service, endpoint.token_hosts)
        self._origin = ""
        self._lock = threading.Lock()

    @property
    def origin(self) -> str:
        """Scheme, host and port; found out at the first contact where there is a choice."""
        with self._lock:
            if not self._origin:
                self._origin = self._probed()
            return self._origin

    @property
    def _foreign_tls(self) -> Tls:
        """Hosts that the registry sends us to: its authorities count, who we are is not shown."""
        return Tls(authorities=self.endpoint.tls.authorities)

    def request(
        self,
        method: str,
        place: str,
        *,
        accepted: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        scope: str = "",
        is_repeatable: bool = True,
        patience: Patience | None = None,
    ) -> "Response":
        """Send until an accepted status comes; raise a RegistryError for any other, or for none.

        `place` is a path below the origin, or a URL. The caller finishes the answer. What is not
        repeatable is sent again only for the sake of authorization. A transfer of several requests
        hands in its own patience.
        """
        patience = patience or Patience(self.token)
        rounds = 0
        url = place if "://" in place else f"{self.origin}{place}"
        while True:
            authorization = self.authorizer.header(self.origin, scope)
            request = Request(method, url, dict(headers or {}), None, self.endpoint.tls)
            try:
                response = self._followed(request, body, authorization)
            except Unreachable as error:
                if not is_repeatable:
                    raise
                patience.after(error)
                continue
            if response.status in accepted:
                return response
            is_challenge = response.status == _UNAUTHORIZED and rounds < MAX_ROUNDS
            if is_challenge and self._is_answered(response, request, scope, authorization):
                rounds += 1
                continue
            refusal = failure(response, request)
            self.transport.finish(response)
            if response.status not in RETRIED or not is_repeatable:
                raise refusal
            patience.after(refusal, retry_after_s(response.headers.get("Retry-After")))

    def fetch(
        self,
        place: str,
        *,
        limit: int,
        accepted: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
        scope: str = "",
    ) -> "tuple[Response, bytes]":
        """Get a small body whole, again if it breaks off; InvalidImage if it is beyond `limit`."""
        patience = Patience(self.token)
        while True:
            try:
                response = self.request(
                    "GET", place, accepted=accepted, headers=headers, scope=scope,
                    patience=patience,
                )  # fmt: skip
                shown = f"GET {self.endpoint.host}{place.partition('?')[0]}"
                return response, self.transport.read(response, shown, limit=limit)
            except Unreachable as error:
                patience.after(error)

    def checked(self, url: str) -> str:
        """Complete a URL that the registry names; RegistryError unless we may go there."""
        return self._target(Request("GET", f"{self.origin}/"), url)

    def _is_answered(
        self, response: "Response", request: Request, scope: str, used: str | None
    ) -> bool:
        """Answer a challenge; False if the same answer was refused already."""
        challenges = response.headers.getlist("WWW-Authenticate")
        try:
            header = self.authorizer.answer(challenges, self.origin, scope, used)
        except AuthenticationError as error:
            self.transport.finish(response)
            raise with_request(error, request) from None
        if header == used and header.startswith("Basic "):
            return False  # a new token may look like the old one, a password does not change
        self.transport.finish(response)
        return True

    def _followed(
        self, request: Request, body: Body | None, authorization: str | None
    ) -> "Response":
        """Send, and follow redirects."""
        for _ in range(MAX_REDIRECTS + 1):
            headers = dict(request.headers)
            is_ours = origin_of(request.url) == self.origin
            if authorization is not None and is_ours:
                headers["Authorization"] = authorization
            sent = request._replace(
                headers=headers,
                body=None if body is None else body(),
                tls=self.endpoint.tls if is_ours else self._foreign_tls,
            )
            response = self.transport.send(sent)
            if response.status not in _REDIRECTS:
                return response
            self.transport.finish(response)
            url = self._target(request, response.headers.get("Location", ""))
            if request.method not in {"GET", "HEAD"} and response.status not in _KEEPING_METHOD:
                raise RegistryError(f"{request.shown}: redirected with status {response.status}")
            request = request._replace(url=url)
        raise RegistryError(f"{request.shown}: more than {MAX_REDIRECTS} redirects")

    def _target(self, request: Request, location: str) -> str:
        """Check where a redirect leads; raise RegistryError unless it may be followed."""
        from urllib.parse import urljoin, urlsplit

        refused = RegistryError(f"{request.shown}: redirected to {location[:200]!r}, not followed")
        try:
            url = urljoin(request.url, location)
            split = urlsplit(url)
            host = split.hostname or ""
            _ = split.port
        except ValueError:
            raise refused from None
        if not location or split.scheme not in {"http", "https"} or not host or split.username:
            raise refused
        is_downgrade = request.url.startswith("https:") and split.scheme == "http"
        if is_downgrade and self.endpoint.tls.is_verified:
            raise refused
        if origin_of(url) != self.origin and not self._may_visit(host):
            raise refused
        return url

    def _may_visit(self, host: str) -> bool:
        """Keep a registry from sending us where only we can reach."""
        import ipaddress

        own = bare_host(self.endpoint.host)
        if is_loopback(host):
            return is_loopback(own)
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return True
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        if not address.is_private:
            return True
        try:
            return ipaddress.ip_address(own).is_private
        except ValueError:
            return is_loopback(own) or "." not in own or not self.endpoint.tls.is_verified

    def _probed(self) -> str:
        """Find the first scheme by which the endpoint answers."""
        host, schemes = self.endpoint.host, self.endpoint.schemes
        if len(schemes) == 1:
            return f"{schemes[0]}://{host}"
        patience = Patience(self.token)
        while True:
            errors: list[Unreachable] = []
            for scheme in (schemes[0], *schemes):
                try:
                    if self._answers(f"{scheme}://{host}"):
                        return f"{scheme}://{host}"
                except Unreachable as error:
                    errors.append(error)
            lasting = next((one for one in errors if one.is_lasting), None)
            if lasting is not None:
                raise lasting  # the other scheme is not what it speaks
            told = "; ".join(dict.fromkeys(error.what for error in errors))
            is_refused = all(error.is_refused for error in errors)
            patience.after(Unreachable(told, is_refused=is_refused))

    def _answers(self, origin: str) -> bool:
        request = Request("GET", f"{origin}/v2/", {}, None, self.endpoint.tls, PROBE_TIMEOUT_S)
        response = self.transport.send(request)
        try:
            if response.status == _WRONG_SCHEME and origin.startswith("http:"):
                return b"HTTPS" not in read_all(response, request.shown, limit=1 << 20)
            return True
        finally:
            self.transport.finish(response)

    def _ask_token_service(self, url: str, headers: Mapping[str, str], form: bytes | None) -> bytes:
        """Ask for a token; redirects are not followed, transient failures are tried again."""
        patience = Patience(self.token)
        is_ours = origin_of(url).partition("://")[2] == self.endpoint.host.lower()
        tls = self.endpoint.tls if is_ours else self._foreign_tls
        request = Request("GET" if form is None else "POST", url, headers, form, tls)
        while True:
            try:
                response = self.transport.send(request)
                try:
                    if response.status == 200:  # noqa: PLR2004 - OK
                        return read_all(response, request.shown, limit=MAX_TOKEN_BYTES)
                    refusal = failure(response, request)
                finally:
                    self.transport.finish(response)
            except Unreachable as error:
                patience.after(error)
                continue
            if response.status not in RETRIED:
                raise AuthenticationError(refusal.what, fix="log in again") from None
            patience.after(refusal, retry_after_s(response.headers.get("Retry-After")))


def origin_of(url: str) -> str:
    """Give scheme, host and port of a URL, in lower case."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0]}".lower()
