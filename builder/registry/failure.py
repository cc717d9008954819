"""What a registry says when it refuses, as errors of ours. Its words are foreign text.

Spec: OCI distribution-spec, "Error Codes".
"""

from typing import TYPE_CHECKING

from builder.errors import (
    AuthenticationError,
    BuilderError,
    InvalidImage,
    NetworkError,
    NotInRegistry,
    RateLimited,
    RegistryError,
)
from builder.oci import json
from builder.registry.hosts import HUB_HOST
from builder.registry.transport import Request, Unreachable, read_all
from builder.text import visible

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse as Response

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_ERROR_BYTES = 64 << 10
_MAX_SHOWN = 400
_MAX_ERRORS = 10


class Refused(RegistryError):
    """A refusal that is none of the others."""

    def __init__(self, what: str, status: int) -> None:
        """Keep the status."""
        super().__init__(what)
        self.status = status


def failure(response: "Response", request: Request) -> RegistryError:
    """Make the error for a status; what the body says is shown with control characters visible."""
    said = _said(response, request)
    what = f"{request.shown}: status {response.status}{': ' if said else ''}{said}"
    match response.status:
        case 401 | 403 as status:
            return _denied(what, status, _login_name(request))
        case 404:
            return NotInRegistry(f"{what} (not found)", fix="check the name and the tag")
        case 407:
            return NetworkError(
                f"{what} (the proxy wants credentials)",
                fix="give them: HTTP_PROXY=http://USER:PASSWORD@HOST:PORT",
            )
        case 429:
            return RateLimited(what, fix="wait, or log in: accounts have higher limits")
        case status if status in RETRIED:
            return NetworkError(what)
        case status:
            return Refused(what, status)


def _denied(what: str, status: int, host: str) -> AuthenticationError:
    if status == 401:  # noqa: PLR2004 - Unauthorized
        fix = f"log in: builder login {host}; or check the name: what is private may look like this"
        return AuthenticationError(f"{what} (unauthorized)", fix=fix)
    return AuthenticationError(
        f"{what} (denied)", fix=f"log in as somebody who may: builder login {host}"
    )


def _login_name(request: Request) -> str:
    """Name a host as `login` takes it."""
    host = visible(request.url.partition("://")[2].partition("/")[0])[:_MAX_SHOWN]
    return "docker.io" if host == HUB_HOST else host


def with_request(error: AuthenticationError, request: Request) -> AuthenticationError:
    """Say of which request an error is."""
    return AuthenticationError(f"{request.shown}: {error.what}", fix=error.fix)


def _said(response: "Response", request: Request) -> str:
    """Read the messages of an error's body; its beginning if it is of another form."""
    if request.method == "HEAD":
        return ""
    try:
        content = read_all(response, request.shown, limit=MAX_ERROR_BYTES)
    except (Unreachable, InvalidImage):
        return ""
    try:
        value = json.load_object(content, what="the error")
        errors = json.members(value, "errors", limit=_MAX_ERRORS)
        parts = [
            f"{json.string(one, 'code', '')}: {json.string(one, 'message', '')}" for one in errors
        ]
        if not parts:
            parts = [json.string(value, name, "") for name in ("message", "details", "error")]
        text = "; ".join(part.strip(": ") for part in parts if part.strip(": "))
    except BuilderError:
        text = content[:_MAX_SHOWN].decode("utf-8", "replace").strip()
    return visible(text[:_MAX_SHOWN])
