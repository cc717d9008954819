"""What a build hands to its exporters, and what they hand back."""

from builder.exporters.output import Output
from builder.oci.config import ImageConfig
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.layer import Layer
from builder.oci.platform import Platform
from builder.store.snapshotter import Snapshot
from builder.values import NamedTuple


class ImageResult(NamedTuple):
    """One finished image of one platform.

    `layers` lists the lowest first, their blobs are in the content store; the lowest `base_layers`
    come from the base image. `snapshot` is the merged root, None for an empty one. `config_bytes`
    are the exact bytes of a config that is already an image's; None writes `config`.
    """

    platform: Platform
    config: ImageConfig
    layers: tuple[Layer, ...] = ()
    snapshot: Snapshot | None = None
    base_layers: int = 0
    annotations: tuple[tuple[str, str], ...] = ()
    config_bytes: bytes | None = None


class Exported(NamedTuple):
    """What came out: the manifest or index, and the digest of its (first) config, if any."""

    output: Output
    descriptor: Descriptor | None = None
    config_digest: Digest | None = None
