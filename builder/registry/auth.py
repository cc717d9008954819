"""Who we are to one registry: basic credentials, or bearer tokens for each scope.

A password goes to the registry itself, and to its token service only over TLS or on the very same
origin: a plain HTTP realm elsewhere gets none, whatever the challenge says.

Spec: distribution, docs/spec/auth/token.md; RFC 7235; RFC 6750.
"""

import threading
import time
from collections.abc import Callable, Mapping

from builder.errors import AuthenticationError, InvalidImage
from builder.oci import json
from builder.registry.credentials import Credentials
from builder.values import NamedTuple

DEFAULT_LIFE_S = 60
MAX_LIFE_S = 24 * 3600
MAX_TOKEN_BYTES = 1 << 20
CLIENT_ID = "builder"
_SPARE_S = 10

Post = Callable[[str, Mapping[str, str], bytes | None], bytes]
"""Ask a token service: URL, headers, form (None: GET); the body of its answer."""


class Challenge(NamedTuple):
    """One demand of a WWW-Authenticate header; the scheme in lower case."""

    scheme: str
    parameters: Mapping[str, str]


class _Token(NamedTuple):
    value: str
    expires_s: float


class Authorizer:
    """Authorization headers for one registry; safe to use from several threads."""

    def __init__(
        self, find: Callable[[], Credentials], ask: Post, token_hosts: tuple[str, ...] = ()
    ) -> None:
        """Look credentials up by `find` when they are needed, fetch tokens by `ask`."""
        self._find = find
        self._ask = ask
        self._token_hosts = token_hosts
        self._credentials: Credentials | None = None
        self._challenge: Challenge | None = None
        self._tokens: dict[str, _Token] = {}
        self._lock = threading.Lock()
        self.withheld_from = ""
        """A token service that was not trusted with the user's password."""

    def header(self, origin: str, scope: str) -> str | None:
        """Give the header for a request if one was asked for before; may fetch a token."""
        with self._lock:
            if self._challenge is None:
                return None
            return self._header(self._challenge, origin, scope)

    def answer(self, headers: list[str], origin: str, scope: str, used: str | None) -> str:
        """Answer a challenge, given the header that did not do; may raise AuthenticationError.

        What another thread has got since is taken instead of asking again.
        """
        with self._lock:
            challenge = _chosen(headers)
            if challenge is None:
                raise AuthenticationError("unauthorized, and the registry does not say how to be")
            self._challenge = challenge
            known = self._tokens.get(_scope(challenge, scope))
            if known is not None and used == f"Bearer {known.value}":
                del self._tokens[_scope(challenge, scope)]
            header = self._header(challenge, origin, scope)
            if header is None:
                raise AuthenticationError(
                    "unauthorized: authentication required (no basic auth credentials)",
                    fix="log in first: builder login REGISTRY",
                )
            return header

    def _known(self) -> Credentials:
        if self._credentials is None:
            self._credentials = self._find()
        return self._credentials

    def _header(self, challenge: Challenge, origin: str, scope: str) -> str | None:
        credentials = self._known()
        if challenge.scheme == "basic":
            return credentials.basic() if credentials.username else None
        if credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        wanted = _scope(challenge, scope)
        token = self._tokens.get(wanted)
        if token is None or token.expires_s < time.monotonic():
            token = self._fetch(challenge, origin, wanted)
            self._tokens[wanted] = token
        return f"Bearer {token.value}"

    def _fetch(self, challenge: Challenge, origin: str, scope: str) -> _Token:
        realm = challenge.parameters.get("realm", "")
        service = challenge.parameters.get("service", "")
        credentials = self._known()
        if not credentials.is_empty and not self._is_trusted(realm, origin):
            credentials = Credentials()
            self.withheld_from = realm
        if credentials.identity_token:
            answer = self._refreshed(realm, service, scope, credentials.identity_token)
        else:
            query = _query(service, scope, credentials.username)
            separator = "&" if "?" in realm else "?"
            headers = {"Authorization": credentials.basic()} if credentials.username else {}
            answer = self._ask(f"{realm}{separator}{query}", headers, None)
        return _token(answer)

    def _refreshed(self, realm: str, service: str, scope: str, token: str) -> bytes:
        from urllib.parse import urlencode

        form = {
            "grant_type": "refresh_token", "refresh_token": token, "service": service,
            "client_id": CLIENT_ID, "scope": scope,
        }  # fmt: skip
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask(realm, headers, urlencode(form).encode())

    def _is_trusted(self, realm: str, origin: str) -> bool:
        """Whether a token service may see the user's password."""
        scheme, _, rest = realm.partition("://")
        realm_origin = f"{scheme}://{rest.partition('/')[0]}".lower()
        if "@" in realm_origin:
            return False
        return scheme.lower() == "https" or realm_origin in {origin, *self._token_hosts}


def parse_challenges(header: str) -> list[Challenge]:
    """Read a WWW-Authenticate header, which may hold several; what is malformed is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    position, end = 0, len(header)
    while position < end:
        word_end = position
        while word_end < end and header[word_end] not in ' ,="':
            word_end += 1
        word = header[position:word_end]
        if header[word_end : word_end + 1] == "=" and found:
            value, position = _value(header, word_end + 1)
            found[-1][1][word.lower()] = value
        else:
            if word:
                found.append((word.lower(), {}))
            position = max(word_end, position + 1) if not word else word_end
        while position < end and header[position] in ' ,"=':
            position += 1
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _value(header: str, start: int) -> tuple[str, int]:
    """Read a parameter's value, quoted or not, and where it ends."""
    if header[start : start + 1] != '"':
        ends = [header.find(mark, start) for mark in ", "]
        end = min((e for e in ends if e >= 0), default=len(header))
        return header[start:end], end
    value, position = "", start + 1
    while position < len(header) and header[position] != '"':
        if header[position] == "\\":
            position += 1
        value += header[position : position + 1]
        position += 1
    return value, position + 1


def _chosen(headers: list[str]) -> Challenge | None:
    challenges = [one for header in headers for one in parse_challenges(header)]
    for scheme in ("bearer", "basic"):
        for challenge in challenges:
            if challenge.scheme == scheme and (scheme == "basic" or _has_realm(challenge)):
                return challenge
    return None


def _has_realm(challenge: Challenge) -> bool:
    return challenge.parameters.get("realm", "").startswith(("http://", "https://"))


def _scope(challenge: Challenge, scope: str) -> str:
    """Ask for what we are about to do, which may be more than the challenge says (mounting)."""
    return scope or challenge.parameters.get("scope", "")


def _query(service: str, scope: str, account: str) -> str:
    from urllib.parse import urlencode

    pairs = [("service", service)] if service else []
    pairs += [("scope", one) for one in scope.split(" ") if one]
    if account:
        pairs += [("account", account), ("client_id", CLIENT_ID)]
    return urlencode(pairs)


def _token(answer: bytes) -> _Token:
    value = json.load_object(answer, what="the answer of the token service")
    text = json.string(value, "token", "") or json.string(value, "access_token", "")
    if not text or not text.isascii() or not text.isprintable():
        raise InvalidImage("the token service gave no token")
    life_s = max(DEFAULT_LIFE_S, json.integer(value, "expires_in", DEFAULT_LIFE_S))
    return _Token(text, time.monotonic() + min(life_s, MAX_LIFE_S) - _SPARE_S)
