"""Media types and what they say about a blob: its kind and its compression.

Spec: OCI image-spec, media-types.md; Docker image manifest version 2, schema 2.
"""

from typing import Literal

from builder.errors import InvalidImage

Compression = Literal["none", "gzip", "zstd"]

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP = LAYER + "+gzip"
LAYER_ZSTD = LAYER + "+zstd"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = DOCKER_LAYER + ".gzip"
DOCKER_LAYER_ZSTD = DOCKER_LAYER + ".zstd"
DOCKER_FOREIGN_LAYER = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"

INDEXES = frozenset({INDEX, DOCKER_LIST})
MANIFESTS = frozenset({MANIFEST, DOCKER_MANIFEST})

_LAYERS: dict[str, Compression] = {
    LAYER: "none",
    LAYER_GZIP: "gzip",
    LAYER_ZSTD: "zstd",
    DOCKER_LAYER: "none",
    DOCKER_LAYER_GZIP: "gzip",
    DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN_LAYER: "gzip",
    NONDISTRIBUTABLE: "none",
    NONDISTRIBUTABLE + "+gzip": "gzip",
    NONDISTRIBUTABLE + "+zstd": "zstd",
}

_TO_DOCKER = {
    INDEX: DOCKER_LIST,
    MANIFEST: DOCKER_MANIFEST,
    CONFIG: DOCKER_CONFIG,
    LAYER: DOCKER_LAYER,
    LAYER_GZIP: DOCKER_LAYER_GZIP,
    LAYER_ZSTD: DOCKER_LAYER_ZSTD,
    NONDISTRIBUTABLE + "+gzip": DOCKER_FOREIGN_LAYER,
}
_TO_OCI = {docker: oci for oci, docker in _TO_DOCKER.items()}


def compression_of(layer_media_type: str) -> Compression:
    """Read a layer's compression from its media type; raise InvalidImage for another kind."""
    try:
        return _LAYERS[layer_media_type]
    except KeyError:
        raise InvalidImage(f"{layer_media_type!r} is not the media type of a layer") from None


def layer_media_type(compression: Compression) -> str:
    """Name the OCI media type of a layer compressed so."""
    return {"none": LAYER, "gzip": LAYER_GZIP, "zstd": LAYER_ZSTD}[compression]


def is_layer(media_type: str) -> bool:
    """Whether a media type is that of a filesystem layer."""
    return media_type in _LAYERS


def is_foreign(media_type: str) -> bool:
    """Whether a layer may not be distributed: its blob comes from elsewhere, or from nowhere."""
    return "nondistributable" in media_type or media_type == DOCKER_FOREIGN_LAYER


def to_docker(media_type: str) -> str:
    """Give Docker's name for an OCI media type; others stay."""
    return _TO_DOCKER.get(media_type, media_type)


def to_oci(media_type: str) -> str:
    """Give OCI's name for a Docker media type; others stay."""
    return _TO_OCI.get(media_type, media_type)
