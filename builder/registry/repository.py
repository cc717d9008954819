"""One repository at one endpoint: its manifests and blobs, read and verified.

Spec: OCI distribution-spec.
"""

from typing import TYPE_CHECKING

from builder.errors import InvalidImage, NotInRegistry, RegistryError
from builder.oci import media
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest_or_index,
)
from builder.oci.digest import Digest, digest_of, parse_digest
from builder.registry.hosts import Endpoint
from builder.registry.patience import Patience
from builder.registry.session import Session
from builder.registry.transport import Transport, content_length
from builder.values import NamedTuple

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse as Response

ACCEPT = (
    f"{media.INDEX}, {media.MANIFEST}, {media.DOCKER_LIST}, {media.DOCKER_MANIFEST},"
    " application/json;q=0.5, */*;q=0.1"
)
DIGEST_HEADER = "Docker-Content-Digest"
_SCHEMA1 = (media.DOCKER_SCHEMA1, media.DOCKER_SCHEMA1_SIGNED)
_VAGUE = frozenset(
    {"", "application/json", "text/plain", "application/octet-stream", "binary/octet-stream"}
)
_OK, _PARTIAL, _NOT_FOUND = 200, 206, 404


class Fetched(NamedTuple):
    """A manifest or index as it came, its descriptor made from the bytes."""

    descriptor: Descriptor
    content: bytes
    document: Manifest | Index


class Repository:
    """Where an image is. Safe to use from several threads."""

    def __init__(self, session: Session) -> None:
        """Use a session with the repository's endpoint."""
        self.session = session
        self.name = session.endpoint.repository

    @property
    def endpoint(self) -> Endpoint:
        """Where it is."""
        return self.session.endpoint

    @property
    def transport(self) -> Transport:
        """What its answers are finished by."""
        return self.session.transport

    def place(self, rest: str) -> str:
        """Give the path of something in the repository."""
        return f"/v2/{self.name}/{rest}"

    def scope(self, actions: str = "pull", *, mounted: str = "") -> str:
        """Name what a token must allow."""
        scope = f"repository:{self.name}:{actions}"
        return f"{scope} repository:{mounted}:pull" if mounted else scope

    def head(self, reference: str, *, actions: str = "pull") -> Descriptor | None:
        """Ask what a tag or digest stands for now; None if there is none, or no word on it."""
        response = self.session.request(
            "HEAD", self.place(f"manifests/{reference}"), accepted=(_OK, _NOT_FOUND),
            headers={"Accept": ACCEPT}, scope=self.scope(actions),
        )  # fmt: skip
        try:
            text = response.headers.get(DIGEST_HEADER, "")
            size_bytes = content_length(response)
            if response.status != _OK or not text or size_bytes < 0:
                return None
            return Descriptor(_media_type(response), parse_digest(text), size_bytes)
        finally:
            self.transport.finish(response)

    def manifest(self, reference: str, expected: Descriptor | None = None) -> Fetched:
        """Fetch a manifest or index by tag or digest; what is not as expected is InvalidImage.

        A digest as reference, the digest that the server names, and the expected descriptor all
        must fit the bytes.
        """
        mark = "@" if reference.startswith("sha256:") else ":"
        what = f"{self.endpoint.host}/{self.name}{mark}{reference}"
        try:
            response, content = self.session.fetch(
                self.place(f"manifests/{reference}"),
                limit=MAX_MANIFEST_BYTES,
                headers={"Accept": ACCEPT if expected is None else expected.media_type},
                scope=self.scope(),
            )
        except NotInRegistry as error:
            said = error.what.removesuffix(" (not found)")
            raise NotInRegistry(f"manifest for {what} not found: {said}", fix=error.fix) from None
        digest = digest_of(content)
        named = response.headers.get(DIGEST_HEADER)
        for wanted in (reference if reference.startswith("sha256:") else None, named):
            if wanted is not None and wanted != digest:
                raise InvalidImage(f"the manifest of {what} has the digest {digest}, not {wanted}")
        media_type = _media_type(response)
        if expected is not None:
            _check_expected(what, expected, digest, len(content))
            media_type = media_type or expected.media_type
        # of schema 1 its own schemaVersion makes the parser say what is the matter
        claimed = None if media_type in _SCHEMA1 else media_type or None
        document = parse_manifest_or_index(content, claimed)
        if expected is not None and document.media_type != expected.media_type:
            raise InvalidImage(f"{what} is {document.media_type!r}, not {expected.media_type!r}")
        return Fetched(Descriptor(document.media_type, digest, len(content)), content, document)

    def blob(self, digest: Digest, patience: Patience, *, offset: int = 0) -> "Response":
        """Open a blob, from an offset if the server can; the status tells (206 or 200)."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        return self.session.request(
            "GET", self.place(f"blobs/{digest}"), accepted=(_OK, _PARTIAL), headers=headers,
            scope=self.scope(), patience=patience,
        )  # fmt: skip

    def has_blob(self, descriptor: Descriptor, *, actions: str = "pull,push") -> bool:
        """Ask whether a blob is there; one of another size is an error."""
        response = self.session.request(
            "HEAD", self.place(f"blobs/{descriptor.digest}"), accepted=(_OK, _NOT_FOUND),
            scope=self.scope(actions),
        )  # fmt: skip
        self.transport.finish(response)
        if response.status != _OK:
            return False
        size_bytes = content_length(response, descriptor.size_bytes)
        if size_bytes != descriptor.size_bytes:
            raise RegistryError(
                f"{self.endpoint.host} holds blob {descriptor.digest} with {size_bytes} bytes"
                f" instead of {descriptor.size_bytes}"
            )
        return True

    def delete(self, digest: Digest) -> None:
        """Delete a manifest by its digest."""
        response = self.session.request(
            "DELETE", self.place(f"manifests/{digest}"), accepted=(202,), scope=self.scope("delete")
        )
        self.transport.finish(response)


def _media_type(response: "Response") -> str:
    """Read what the server calls it; empty for words that mean nothing."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    return "" if media_type in _VAGUE else media_type


def _check_expected(what: str, expected: Descriptor, digest: Digest, size_bytes: int) -> None:
    if (digest, size_bytes) != (expected.digest, expected.size_bytes):
        raise InvalidImage(
            f"{what} is {digest} of {size_bytes} bytes,"
            f" not {expected.digest} of {expected.size_bytes}"
        )
