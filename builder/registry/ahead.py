"""Blobs on their way to a repository while they are still being written.

Only a head start: whatever goes wrong here is silent, and the push that follows sends what the
repository lacks, with all its patience. A blob streams as one request of unknown length; its digest
is told at the end, when it is known.

Spec: OCI distribution-spec, "Pushing a blob in chunks"; RFC 9112, section 7.1.
"""

import os
import threading
from types import TracebackType
from typing import Self

from builder.concurrency import CancelToken
from builder.errors import BuilderError
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.registry.download import Report, Stop, unreported
from builder.registry.patience import Patience
from builder.registry.repository import Repository
from builder.registry.upload import Upload
from builder.store.content import Content, Ingest

FIRST_BYTES = 8 << 20
"""A blob below this size is not worth it."""
THREAD = "upload ahead"
SHOWN = "uploading"
_POLL_S = 0.01
_NOTHING = Descriptor("", Digest(""), 0)


class Ahead:
    """Follows every blob that is written to a content store while the block lasts.

    Leaving the block waits for what is on its way, unless an exception leaves it.
    """

    def __init__(
        self,
        content: Content,
        repository: Repository,
        token: CancelToken,
        report: Report = unreported,
    ) -> None:
        """Keep the collaborators; nothing is sent before a blob has grown."""
        self._report = report
        self._content = content
        self._repository = repository
        self._token = token
        self._stop = Stop(token)
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Begin to listen."""
        self._content.follow = self._follow
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Listen no longer; nothing runs afterwards."""
        self._content.follow = None
        if kind is not None:
            self._stop.set()
        for thread in self._threads:
            thread.join()

    def _follow(self, ingest: Ingest) -> None:
        arguments = (ingest, os.dup(ingest.fd))
        thread = threading.Thread(target=self._run, args=arguments, name=THREAD, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, ingest: Ingest, fd: int) -> None:
        """Send one blob; the descriptor is closed here."""
        growing = Growing(ingest, fd, self._stop, self._report)
        try:
            if growing.has_grown(FIRST_BYTES):
                self._send(ingest, growing)
        except BuilderError:
            return  # the push will meet the same, and say so
        finally:
            os.close(fd)

    def _send(self, ingest: Ingest, growing: "Growing") -> None:
        patience = _Impatience(self._token)
        upload = Upload(self._repository, _NOTHING, self._stop, unreported, patience=patience)
        location = upload.begun()[0]
        response = self._repository.session.request(
            "PATCH", location, accepted=(202, 204),
            headers={"Content-Type": "application/octet-stream"},
            body=growing.again, scope=self._repository.scope("pull,push"), is_repeatable=False,
            patience=patience,
        )  # fmt: skip
        moved = response.headers.get("Location", "")
        self._repository.transport.finish(response)
        location = upload.absolute(moved) if moved else location
        digest = ingest.digest
        if digest is None or self._repository.has_blob(Descriptor("", digest, growing.size_bytes)):
            upload.cancel(location)
        else:
            upload.close(location, digest)
        self._report(SHOWN, growing.size_bytes, growing.size_bytes)


class Growing:
    """A file that is being written, as the body of a request: waits for bytes until its end."""

    def __init__(self, ingest: Ingest, fd: int, stop: Stop, report: Report) -> None:
        """Begin at the first byte; the descriptor's position does not matter."""
        self._report = report
        self._ingest = ingest
        self._fd = fd
        self._stop = stop
        self._position = 0

    def again(self) -> Self:
        """Begin at the first byte once more."""
        self._position = 0
        return self

    @property
    def size_bytes(self) -> int:
        """How large it is by now."""
        return os.fstat(self._fd).st_size

    def has_grown(self, size_bytes: int) -> bool:
        """Wait until it is larger than this; False if it ends before."""
        while True:
            is_over = self._ingest.is_over  # asked first: what is over grows no more
            if self.size_bytes > size_bytes:
                return True
            if is_over:
                return False
            self._stop.pause(_POLL_S)

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes, waiting for at least one; none at the end."""
        self._stop.check()
        if not self.has_grown(self._position):
            return b""
        size_bytes = self.size_bytes
        left = size_bytes - self._position
        piece = os.pread(self._fd, left if size < 0 else min(size, left), self._position)
        self._position += len(piece)
        self._report(SHOWN, min(self._position, size_bytes - 1), size_bytes)
        return piece


class _Impatience(Patience):
    """Tries once."""

    def after(self, error: BuilderError, retry_after_s: float | None = None) -> None:
        """Give up."""
        del retry_after_s
        raise error
