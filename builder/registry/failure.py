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
from builder.registry.transport import Request, Unreachable, read_all
from builder.text import visible

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse as Response

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_ERROR_BYTES = 64 << 10
_MAX_SHOWN = 400
_MAX_ERRORS = 10


def failure(response: "Response", request: Request) -> RegistryError:
    """Make the error for a status; what the body says is shown with control characters visible."""
    said = _said(response, request)
    what = f"{request.shown}: status {response.status}{': ' if said else ''}{said}"
    match response.status:
        case 401:
            return AuthenticationError(
                f"{what} (unauthorized)", fix="check user and password: builder login REGISTRY"
            )
        case 403:
            return AuthenticationError(
                f"{what} (denied)", fix="log in as somebody who may: builder login REGISTRY"
            )
        case 404:
            return NotInRegistry(f"{what} (not found)", fix="check the name and the tag")
        case 429:
            return RateLimited(what, fix="wait, or log in: accounts have higher limits")
        case status if status in RETRIED:
            return NetworkError(what)
        case _:
            return RegistryError(what)


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
