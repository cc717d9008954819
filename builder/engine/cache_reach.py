"""What each kind of entry in a carried cache needs, so that the rest can be removed."""

from collections.abc import Iterable

from builder.engine import cache_document, mount_files
from builder.engine.cache_layout import CacheLayout, Reach
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest


def reach_of(layout: CacheLayout) -> Reach:
    """Give the function that lists the blobs of an entry of a layout."""

    def reach(entry: Descriptor) -> Iterable[Digest]:
        if entry.media_type == mount_files.MOUNT_TYPE:
            return tuple(mount_files.reach(layout, entry))
        return tuple(cache_document.reach(layout, entry))

    return reach
