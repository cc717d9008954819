"""Where blobs come from: the content store, a registry's repository, an archive."""

from typing import Protocol

from builder.oci.descriptor import Descriptor


class Stream(Protocol):
    """Bytes that are read once, from the first to the last."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, at least one before the end; may block."""
        ...

    def close(self) -> None:
        """Release what the stream holds; more than once does no harm."""
        ...


class Provider(Protocol):
    """Opens blobs by descriptor. The bytes are unverified: whoever reads them digests them."""

    def open_blob(self, descriptor: Descriptor) -> Stream:
        """Open a blob at its start, the caller closes it; raise NotFound if it is not here."""
        ...
