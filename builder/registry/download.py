"""One blob from a registry into the content store: digested as it comes, continued where it broke.

Nothing is kept of bytes that are not the blob. A blob that is here is never fetched; of two
processes that want the same one, the second waits for the first.
"""

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from builder.concurrency import CancelToken
from builder.errors import BuilderError, Cancelled, InvalidImage, NotInRegistry, RegistryError
from builder.oci.descriptor import Descriptor
from builder.oci.digest import SHA256_PREFIX, sha256
from builder.registry.patience import Patience
from builder.registry.repository import Repository
from builder.registry.transport import Unreachable, content_length, read_piece
from builder.store.content import Ingest
from builder.store.store import Store

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse as Response

Report = Callable[[str, int, int], None]
"""Told how far a transfer is: what, bytes so far, bytes in all."""

MAX_WRONG = 3
"""How often bytes may turn out to be wrong before the registry, not the line, is to blame."""
_PARTIAL = 206


def unreported(_item: str, _current: int, _total: int) -> None:
    """Tell nobody."""


class Stop:
    """Ends the downloads of a group when one of them failed, or the command was cancelled."""

    def __init__(self, token: CancelToken) -> None:
        """Start out running."""
        self.token = token
        self._event = threading.Event()
        self._others: list[threading.Event] = []

    def set(self) -> None:
        """End the group."""
        self._event.set()

    def watch(self, event: threading.Event) -> None:
        """End the group with an event of somebody else's too."""
        self._others.append(event)

    def pause(self, seconds: float) -> None:
        """Wait a little; raise Cancelled when it is over."""
        self._event.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise Cancelled when it is over."""
        self.token.check()
        if self._event.is_set() or any(event.is_set() for event in self._others):
            raise Cancelled("another part of the transfer came to nothing")


class Downloader:
    """Fetches blobs of one image from the places where it may be."""

    def __init__(
        self,
        store: Store,
        repositories: Sequence[Repository],
        token: CancelToken,
        report: Report = unreported,
    ) -> None:
        """Keep the collaborators; the repository that gave the manifest stands first."""
        self._store = store
        self._repositories = repositories
        self._report = report
        self.stop = Stop(token)

    def fetch(self, descriptor: Descriptor) -> None:
        """Get a blob unless it is here; ends the whole group if it cannot be had."""
        try:
            self.stop.check()
            if self._store.content.has(descriptor.digest):
                return
            with self._store.key_lock(f"blob {descriptor.digest}", self.stop.token):
                if not self._store.content.has(descriptor.digest):
                    self._fetch(descriptor)
        except BaseException:
            self.stop.set()
            raise

    def _fetch(self, descriptor: Descriptor) -> None:
        errors: list[BuilderError] = []
        for repository in self._repositories:
            try:
                _Transfer(self._store, repository, descriptor, self.stop, self._report).run()
            except RegistryError as error:
                errors.append(error)
            else:
                return
        if descriptor.urls and all(isinstance(error, NotInRegistry) for error in errors):
            self._fetch_foreign(descriptor)
            return
        raise errors[-1]

    def _fetch_foreign(self, descriptor: Descriptor) -> None:
        """Get a layer that its registry may not distribute; nobody sees a credential."""
        repository = self._repositories[-1]
        failure = NotInRegistry(f"blob {descriptor.digest} is neither in the registry nor at a URL")
        for url in descriptor.urls:
            if url.startswith(("https://", "http://")):
                transfer = _Transfer(self._store, repository, descriptor, self.stop, self._report)
                try:
                    transfer.url = repository.session.checked(url)
                    transfer.run()
                except NotInRegistry as error:
                    failure = error  # the next URL may have it
                else:
                    return
        raise failure


class _Transfer:
    """One blob from one place."""

    def __init__(
        self,
        store: Store,
        repository: Repository,
        descriptor: Descriptor,
        stop: Stop,
        report: Report,
    ) -> None:
        self.url = ""
        self._store = store
        self._repository = repository
        self._descriptor = descriptor
        self._stop = stop
        self._report = report
        self._hasher = sha256()
        self._received = 0
        self._wrong = 0

    def run(self) -> None:
        """Receive until the blob is whole and right."""
        patience = Patience(self._stop.token)
        while True:
            with self._store.content.ingest() as ingest:
                self._hasher, self._received = sha256(), 0
                self._receive(ingest, patience)
                try:
                    self._check()
                except InvalidImage as error:
                    self._wrong += 1
                    if self._wrong >= MAX_WRONG:
                        raise
                    patience.after(error)
                    continue
                size_bytes = self._descriptor.size_bytes
                ingest.commit(self._descriptor.digest, size_bytes, is_verified=True)
                self._report(self._descriptor.digest, size_bytes, size_bytes)
                return

    def _check(self) -> None:
        digest = SHA256_PREFIX + self._hasher.hexdigest()
        if (digest, self._received) != (self._descriptor.digest, self._descriptor.size_bytes):
            raise InvalidImage(
                f"{self._repository.endpoint.host} sent {self._received} bytes that are not blob"
                f" {self._descriptor.digest} of {self._descriptor.size_bytes} bytes",
                fix="try again; if it stays so, the registry's copy is damaged",
            )

    def _receive(self, ingest: Ingest, patience: Patience) -> None:
        """Append what comes, over several connections if need be; at most one byte too many."""
        while True:
            before = self._received
            try:
                self._receive_some(ingest, patience)
            except Unreachable as error:
                if self._received == self._descriptor.size_bytes:
                    return  # all is here; the digest will tell
                if self._received > before:
                    patience.progressed()
                patience.after(error)
            else:
                return

    def _receive_some(self, ingest: Ingest, patience: Patience) -> None:
        offset = self._received
        response = self._opened(offset, patience)
        try:
            if offset and not _continues(response, offset):
                self._start_over(ingest)
            what = f"GET {self._repository.endpoint.host} blob {self._descriptor.digest}"
            total = self._descriptor.size_bytes
            while self._received <= total and (piece := read_piece(response, what)):
                self._stop.check()
                piece = piece[: total + 1 - self._received]
                self._hasher.update(piece)
                ingest.write(piece)
                self._received += len(piece)
                self._report(self._descriptor.digest, min(self._received, total), total)
        except BaseException:
            self._repository.transport.abandon(response)
            raise
        self._repository.transport.finish(response)
        if self._received < total and content_length(response) < 0:
            raise Unreachable(f"{what}: broke off after {self._received} of {total} bytes")

    def _opened(self, offset: int, patience: Patience) -> "Response":
        if not self.url:
            return self._repository.blob(self._descriptor.digest, patience, offset=offset)
        session = self._repository.session
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        return session.request(
            "GET", self.url, accepted=(200, _PARTIAL), headers=headers, patience=patience
        )

    def _start_over(self, ingest: Ingest) -> None:
        """Forget what came: the server sends everything anew."""
        import os

        os.ftruncate(ingest.fd, 0)
        os.lseek(ingest.fd, 0, os.SEEK_SET)
        self._hasher, self._received = sha256(), 0


def _continues(response: "Response", offset: int) -> bool:
    """Whether an answer begins where the last one broke off.

    Spec: RFC 9110, section 14.4.
    """
    wanted = f"bytes {offset}-"
    return response.status == _PARTIAL and response.headers.get("Content-Range", "").startswith(
        wanted
    )
