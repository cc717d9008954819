"""An image from the content store to a repository: blobs in parallel, then documents, root last.

The registry never shows a document before everything that it names.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from builder.concurrency import CancelToken, Pool
from builder.errors import NotFound, RegistryError
from builder.oci import media
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest_or_index,
)
from builder.oci.digest import Digest
from builder.registry.download import Report, Stop, unreported
from builder.registry.failure import Refused
from builder.registry.patience import Patience
from builder.registry.pull import outcome, raise_first
from builder.registry.referrers import add_referrer
from builder.registry.repository import DIGEST_HEADER, Repository
from builder.registry.upload import Upload
from builder.store.content import Content
from builder.values import NamedTuple

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse as Response

CONNECTIONS = 4
SUBJECT_HEADER = "OCI-Subject"
_REFUSING_TYPES = frozenset({400, 405, 406, 415, 422})
_LATE_PART = "MANIFEST_BLOB_UNKNOWN"
"""Spec: OCI distribution-spec, "Error Codes"."""


class ManifestRefused(RegistryError):
    """A document that the registry does not take; perhaps it takes the other media types."""


class Pushed(NamedTuple):
    """What came of a push."""

    descriptor: Descriptor
    sent: int
    """How many blobs were sent; the others were there, or were mounted."""
    sent_bytes: int


class _Document(NamedTuple):
    descriptor: Descriptor
    content: bytes
    value: Manifest | Index


class Pusher:
    """Pushes images of one content store to one repository."""

    def __init__(
        self,
        content: Content,
        repository: Repository,
        token: CancelToken,
        report: Report = unreported,
        origins: Callable[[Digest], Sequence[str]] = lambda _digest: (),
        *,
        obtain: Callable[[Descriptor], None] = lambda _blob: None,
    ) -> None:
        """Keep the collaborators.

        `origins` names other repositories there that have a blob. `obtain` is called for a blob
        that has to be sent, before it is read.
        """
        self._content = content
        self._repository = repository
        self._token = token
        self._report = report
        self._origins = origins
        self._obtain = obtain
        self._sent: list[int] = []

    def push(self, root: Descriptor, names: Sequence[str]) -> Pushed:
        """Push an image under tags; without any, by its digest alone."""
        documents = self._documents(root)
        blobs: dict[Digest, Descriptor] = {}
        for document in documents:
            if isinstance(document.value, Manifest):
                for blob in (document.value.config, *document.value.layers):
                    blobs.setdefault(blob.digest, blob)
        self._push_blobs(blobs)
        *below, top = documents
        for document in below:
            self.put_manifest(document.content, document.descriptor, document.descriptor.digest)
        for name in names or (top.descriptor.digest,):
            self.put_manifest(top.content, top.descriptor, name)
        return Pushed(top.descriptor, len(self._sent), sum(self._sent))

    def put_manifest(self, content: bytes, descriptor: Descriptor, name: str) -> None:
        """Put one document; its parts must be there. The registry's digest must be ours.

        A registry that does not know a part yet is asked again: it said that it has all of them,
        and somebody else may be sending the same one. Raises RegistryError.
        """
        response = self._put(content, descriptor.media_type, name)
        self._repository.transport.finish(response)
        said = response.headers.get(DIGEST_HEADER, descriptor.digest)
        if said != descriptor.digest:
            raise RegistryError(
                f"{self._repository.endpoint.host} keeps {descriptor.digest} as {said[:100]}"
            )
        value = parse_manifest_or_index(content, descriptor.media_type)
        if value.subject is not None and not response.headers.get(SUBJECT_HEADER):
            add_referrer(self._repository, value, descriptor, self.put_manifest)

    def _put(self, content: bytes, media_type: str, name: str) -> "Response":
        patience = Patience(self._token)
        while True:
            try:
                return self._repository.session.request(
                    "PUT", self._repository.place(f"manifests/{name}"), accepted=(200, 201, 202),
                    headers={"Content-Type": media_type, "Content-Length": str(len(content))},
                    body=lambda: content, scope=self._repository.scope("pull,push"),
                )  # fmt: skip
            except Refused as error:
                if _LATE_PART in error.what:
                    patience.after(error)
                elif error.status in _REFUSING_TYPES:
                    raise ManifestRefused(
                        error.what,
                        fix="perhaps it takes Docker's types: builder copy --format docker",
                    ) from None
                else:
                    raise

    def _documents(self, root: Descriptor) -> list[_Document]:
        """Read all documents below a root, children first.

        A platform that is not in the store must be in the repository already.
        """
        found: list[_Document] = []
        seen: set[Digest] = set()

        def visit(descriptor: Descriptor, depth: int) -> None:
            if descriptor.digest in seen:
                return
            seen.add(descriptor.digest)
            content = self._content.read(descriptor.digest, limit=MAX_MANIFEST_BYTES)
            value = parse_manifest_or_index(content, descriptor.media_type or None)
            if isinstance(value, Index) and depth < 4:  # noqa: PLR2004 - indexes are shallow
                for entry in value.manifests:
                    if self._content.has(entry.digest):
                        visit(entry, depth + 1)
                    else:
                        self._require(entry)
            described = Descriptor(value.media_type, descriptor.digest, len(content))
            found.append(_Document(described, content, value))

        visit(root, 0)
        return found

    def _require(self, entry: Descriptor) -> None:
        if self._repository.head(entry.digest, actions="pull,push") is None:
            raise NotFound(
                f"the image's variant for {entry.platform} is neither here nor in the registry",
                fix="push one platform with --platform, or pull all with --all-platforms first",
            )

    def _push_blobs(self, blobs: Mapping[Digest, Descriptor]) -> None:
        """Send what is missing over a few connections, large blobs first."""
        stop = Stop(self._token)
        ordered = sorted(blobs.values(), key=lambda blob: -blob.size_bytes)
        with Pool(CONNECTIONS) as pool:
            tasks = [pool.submit(self._push_blob, blob, stop) for blob in ordered]
            raise_first([outcome(task) for task in tasks])

    def _push_blob(self, blob: Descriptor, stop: Stop) -> None:
        try:
            stop.check()
            if media.is_foreign(blob.media_type) and not self._content.has(blob.digest):
                return
            upload = Upload(self._repository, blob, stop, self._report)
            if upload.is_there() or upload.mount(self._origins(blob.digest)):
                self._report(blob.digest, blob.size_bytes, blob.size_bytes)
                return
            self._obtain(blob)
            upload.send(lambda: self._content.open(blob.digest))
            self._sent.append(blob.size_bytes)
        except BaseException:
            stop.set()
            raise
