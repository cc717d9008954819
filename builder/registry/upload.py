"""One blob into a repository: not at all if it is there, mounted, or sent.

The server alone knows how much of a broken upload it has: after a failure it is asked, and after
each part its answer counts. The closing request makes it check the digest.

Spec: OCI distribution-spec, "Pushing blobs".
"""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from builder.errors import BuilderError, RegistryError
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.registry.download import Report, Stop
from builder.registry.failure import RETRIED, failure
from builder.registry.patience import Patience, retry_after_s
from builder.registry.repository import Repository
from builder.registry.session import Body
from builder.registry.transport import Request, Unreachable

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse as Response

MAX_WHOLE_BYTES = 4 << 20
"""Up to here a blob goes with the closing request."""
CHUNK_BYTES = 128 << 20
MAX_SESSIONS = 5
_CREATED, _ACCEPTED, _NO_CONTENT, _NOT_FOUND, _BAD_RANGE = 201, 202, 204, 404, 416
_ANY = range(200, 600)
_USELESS = frozenset({400, _NOT_FOUND, _BAD_RANGE})
"""The server has lost the session, or has bytes that are not the blob's."""
_SERVER_ERROR = 500


class _Lost(Exception):
    """The upload session is gone, or of no use: begin another one."""


class Part:
    """A range of a file as the body of a request; reports how far it was read."""

    def __init__(self, fd: int, start: int, end: int, advance: Callable[[int], None]) -> None:
        """Read nothing yet; the descriptor stays the caller's and its position does not matter."""
        self._fd = fd
        self._position = start
        self._end = end
        self._advance = advance

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes."""
        left = self._end - self._position
        piece = os.pread(self._fd, left if size < 0 else min(size, left), self._position)
        self._position += len(piece)
        self._advance(self._position)
        return piece


class Upload:
    """One blob on its way."""

    def __init__(
        self,
        repository: Repository,
        descriptor: Descriptor,
        stop: Stop,
        report: Report,
        *,
        patience: Patience | None = None,
    ) -> None:
        """Keep the collaborators."""
        self._repository = repository
        self._session = repository.session
        self._descriptor = descriptor
        self._stop = stop
        self._report = report
        self._patience = patience or Patience(stop.token)

    def is_there(self) -> bool:
        """Ask whether the repository has the blob."""
        return self._repository.has_blob(self._descriptor)

    def mount(self, others: Sequence[str]) -> bool:
        """Take the blob over from another repository of the registry; False if that is refused."""
        for other in others:
            query = _query({"mount": self._descriptor.digest, "from": other})
            response = self._session.request(
                "POST", self._repository.place(f"blobs/uploads/?{query}"), accepted=_ANY,
                scope=self._repository.scope("pull,push", mounted=other),
                headers={"Content-Length": "0"},
            )  # fmt: skip
            location = response.headers.get("Location", "")
            status = response.status
            self._repository.transport.finish(response)
            if status == _CREATED:
                return True
            if status == _ACCEPTED and location:
                self.cancel(self.absolute(location))
        return False

    def send(self, open_blob: Callable[[], int]) -> None:
        """Send the blob; `open_blob` gives a descriptor, which is closed here.

        Raises RegistryError.
        """
        fd = open_blob()
        try:
            for _ in range(MAX_SESSIONS):
                try:
                    self._send(fd)
                except _Lost:
                    if self._repository.has_blob(self._descriptor):
                        return  # the answer was lost, not the blob
                else:
                    return
        finally:
            os.close(fd)
        raise RegistryError(
            f"{self._repository.endpoint.host} lost the upload of blob"
            f" {self._descriptor.digest} {MAX_SESSIONS} times"
        )

    def _send(self, fd: int) -> None:
        location, minimum = self.begun()
        total = self._descriptor.size_bytes
        offset = 0
        while True:
            while offset < total and (offset or total > MAX_WHOLE_BYTES):
                self._stop.check()
                end = min(total, offset + max(CHUNK_BYTES, minimum))
                location, reached = self._patched(fd, location, offset, end)
                if reached > offset:
                    self._patience.progressed()
                offset = reached
            again = self._closed(fd, location, offset)
            if again is None:
                self._report(self._descriptor.digest, total, total)
                return
            location, offset = again

    def begun(self) -> tuple[str, int]:
        """Open an upload session; give its location and the smallest chunk it takes."""
        while True:
            response = self._session.request(
                "POST", self._repository.place("blobs/uploads/"), accepted=(_ACCEPTED,),
                scope=self._repository.scope("pull,push"), headers={"Content-Length": "0"},
                patience=self._patience,
            )  # fmt: skip
            self._repository.transport.finish(response)
            location = response.headers.get("Location", "")
            minimum = response.headers.get("OCI-Chunk-Min-Length", "")
            if location:
                return self.absolute(location), int(minimum) if minimum.isdecimal() else 0
            host = self._repository.endpoint.host
            self._patience.after(RegistryError(f"{host} began an upload but does not say where"))

    def _patched(self, fd: int, location: str, offset: int, end: int) -> tuple[str, int]:
        """Send one range; give where to go on, and how far the server says it is."""
        headers = {
            "Content-Type": "application/octet-stream", "Content-Length": str(end - offset),
        }  # fmt: skip
        if offset:
            headers["Content-Range"] = f"{offset}-{end - 1}"
        body = self._body(fd, offset, end)
        try:
            response = self._request("PATCH", location, headers, body)
        except Unreachable as error:
            self._patience.after(error)
            return self._asked(location, offset)
        self._repository.transport.finish(response)
        if response.status in {_ACCEPTED, _CREATED, _NO_CONTENT}:
            moved = response.headers.get("Location", "")
            location = self.absolute(moved) if moved else location
            reached = _reached(response.headers.get("Range"), default=end)
            return location, min(reached, self._descriptor.size_bytes)
        if response.status in _USELESS - {_BAD_RANGE}:
            raise _Lost
        if response.status != _BAD_RANGE:
            self._pause(response, "PATCH", location)
        return self._asked(location, offset)

    def _closed(self, fd: int, location: str, offset: int) -> tuple[str, int] | None:
        """Send what is left and have the digest checked; None if done, else where to go on."""
        total = self._descriptor.size_bytes
        url = _closing(location, self._descriptor.digest)
        headers = {
            "Content-Type": "application/octet-stream", "Content-Length": str(total - offset),
        }  # fmt: skip
        body = self._body(fd, offset, total) if offset < total else (lambda: b"")
        try:
            response = self._request("PUT", url, headers, body)
        except Unreachable as error:
            self._patience.after(error)
            return self._asked(location, offset)
        self._repository.transport.finish(response)
        if response.status == _CREATED:
            return None
        if response.status in {_ACCEPTED, _NO_CONTENT}:
            return None if self.is_there() else self._asked(location, offset)
        if response.status in _USELESS:
            raise _Lost
        self._pause(response, "PUT", location)
        return self._asked(location, offset)

    def close(self, location: str, digest: Digest) -> None:
        """Tell the digest of what was sent, once; raise RegistryError unless it is right."""
        response = self._session.request(
            "PUT", _closing(location, digest), accepted=(_CREATED, _ACCEPTED, _NO_CONTENT),
            headers={"Content-Length": "0"}, body=lambda: b"",
            scope=self._repository.scope("pull,push"), is_repeatable=False,
        )  # fmt: skip
        self._repository.transport.finish(response)

    def _asked(self, location: str, offset: int) -> tuple[str, int]:
        """Ask how much of the upload arrived."""
        response = self._request("GET", location, {}, None, is_repeatable=True)
        self._repository.transport.finish(response)
        if response.status not in {200, _ACCEPTED, _NO_CONTENT}:
            raise _Lost
        moved = response.headers.get("Location", "")
        reached = _reached(response.headers.get("Range"), default=0)
        if reached == 1 and offset == 0:
            reached = 0  # 0-0 is said of nothing and of one byte alike; the digest will tell
        location = self.absolute(moved) if moved else location
        return location, min(reached, self._descriptor.size_bytes)

    def _request(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        body: Body | None,
        *,
        is_repeatable: bool = False,
    ) -> "Response":
        accepted = [status for status in _ANY if status not in {401, 301, 302, 303, 307, 308}]
        if is_repeatable:
            accepted = [status for status in accepted if status not in RETRIED]
        return self._session.request(
            method, url, accepted=accepted, headers=headers, body=body,
            scope=self._repository.scope("pull,push"), is_repeatable=is_repeatable,
            patience=self._patience,
        )  # fmt: skip

    def _pause(self, response: "Response", method: str, location: str) -> None:
        """Wait before the next try; raise what will not get better."""
        error: BuilderError = failure(response, Request(method, location))
        if response.status not in RETRIED and response.status < _SERVER_ERROR:
            raise error
        self._patience.after(error, retry_after_s(response.headers.get("Retry-After")))

    def _body(self, fd: int, start: int, end: int) -> Body:
        total = self._descriptor.size_bytes

        def advance(position: int) -> None:
            self._stop.check()
            self._report(self._descriptor.digest, min(position, max(0, total - 1)), total)

        return lambda: Part(fd, start, end, advance)

    def cancel(self, location: str) -> None:
        """Give an upload session back that nobody needs."""
        response = self._session.request(
            "DELETE", location, accepted=_ANY, scope=self._repository.scope("pull,push")
        )
        self._repository.transport.finish(response)

    def absolute(self, location: str) -> str:
        """Complete a location, which may be relative, or name another host."""
        own = self._session.origin.partition("://")[2]
        if self._session.origin.startswith("https:") and location.startswith(f"http://{own}/"):
            location = f"https{location[4:]}"  # a registry that knows nothing of its TLS proxy
        return self._session.checked(location)


def _reached(header: str | None, *, default: int) -> int:
    """Read how many bytes the server has: `0-N`, both ends included."""
    first, dash, last = (header or "").removeprefix("bytes=").partition("-")
    if not dash or not first.isdecimal() or not last.isdecimal():
        return default
    return int(last) + 1


def _closing(location: str, digest: Digest) -> str:
    separator = "&" if "?" in location else "?"
    return f"{location}{separator}{_query({'digest': digest})}"


def _query(pairs: dict[str, str]) -> str:
    from urllib.parse import urlencode

    return urlencode(pairs)
