"""From a snapshot to the blob of its layer: by a walk over its changes, or from what it patches."""

import os
from collections.abc import Callable

from builder.errors import InvalidImage
from builder.layers.compress import Blob
from builder.layers.layer import write_layer
from builder.layers.members import Members
from builder.layers.splice import Earlier, can_splice, write_spliced
from builder.oci.layer import Layer
from builder.oci.media import Compression
from builder.store import member_lists
from builder.store.content import Content
from builder.store.failure import translated
from builder.store.snapshots import Snapshots
from builder.store.snapshotter import Snapshot
from builder.values import NamedTuple


class LayerBlob(NamedTuple):
    """One snapshot's layer on its way into the content store."""

    snapshot: Snapshot
    snapshots: Snapshots
    content: Content
    compression: Compression
    level: int | None
    check: Callable[[], None] = lambda: None
    """Called now and then; it may raise."""

    def write(self, find: Callable[[Snapshot], Layer | None]) -> Blob:
        """Write the blob; `find` looks for one of another snapshot."""
        with translated(self.snapshot.diff):
            blob = None
            if self.snapshot.is_patch and self.snapshot.parent is not None:
                blob = self._spliced(self.snapshots.get(self.snapshot.parent), find)
            return blob or self._walked()

    def _walked(self) -> Blob:
        is_own = self.snapshot.origin == self.snapshot.id
        members = Members() if is_own and member_lists.is_asked(self.snapshot.diff) else None
        lowers = self.snapshots.lowers(self.snapshots.base(self.snapshot))
        with (
            self.snapshots.changed(self.snapshot) as upper,
            self.content.ingest() as ingest,
        ):
            blob = write_layer(
                upper,
                lowers,
                ingest.fd,
                compression=self.compression,
                level=self.level,
                userxattr=self.snapshots.userxattr,
                members=members,
                check=self.check,
            )
            ingest.commit(blob.digest, blob.size_bytes, is_verified=True)
        if members is not None:
            member_lists.keep(self.snapshot.diff, members)
        return blob

    def _spliced(self, patched: Snapshot, find: Callable[[Snapshot], Layer | None]) -> Blob | None:
        """Make the layer from that of the snapshot which this one patches, if it is here."""
        members, layer = member_lists.listed(patched.diff), find(patched)
        bases = self.snapshots.lowers(self.snapshots.base(self.snapshot))
        userxattr = self.snapshots.userxattr
        if members is None or layer is None:
            return None
        if not can_splice(self.snapshot.diff, bases, members, userxattr=userxattr):
            return None
        digest = layer.descriptor.digest
        fd = self.content.open(digest)
        try:
            with self.content.ingest() as ingest:
                blob, listed = write_spliced(
                    self.snapshot.diff,
                    Earlier(members, fd, digest),
                    ingest.fd,
                    compression=self.compression,
                    level=self.level,
                    userxattr=userxattr,
                )
                ingest.commit(blob.digest, blob.size_bytes, is_verified=True)
        except InvalidImage:  # the earlier blob is damaged: `fsck` will find that too
            return None
        finally:
            os.close(fd)
        member_lists.keep(self.snapshot.diff, listed)
        return blob
