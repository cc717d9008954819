"""The JSON documents of an image: config, manifest, index, made in memory from build results.

Nothing here touches a disk: layers are only described. Equal results give equal bytes.

Spec: OCI image-spec, manifest.md, image-index.md.
"""

from collections.abc import Mapping, Sequence

from builder.exporters.annotation import chosen
from builder.exporters.output import Output
from builder.exporters.result import ImageResult
from builder.oci import config, descriptor, media
from builder.oci.descriptor import Descriptor, Index, Manifest, describe
from builder.oci.digest import Digest, digest_of
from builder.values import NamedTuple

CREATED = "org.opencontainers.image.created"


class Documents(NamedTuple):
    """A root manifest or index; the bytes of every document below it; its manifests in order."""

    root: Descriptor
    contents: Mapping[Digest, bytes]
    manifests: tuple[Manifest, ...]


def assemble(images: Sequence[ImageResult], output: Output, *, is_index: bool) -> Documents:
    """Write configs and manifests, and an index if there are several or one is asked for."""
    contents: dict[Digest, bytes] = {}
    has_oci_types = _has_oci_types(images, output)
    described = [
        _manifest(image, output, contents, has_oci_types=has_oci_types) for image in images
    ]
    manifests = tuple(manifest for manifest, _ in described)
    index_annotations = chosen(output.annotations, "index")
    if len(described) == 1 and not is_index and not index_annotations:
        return Documents(described[0][1], contents, manifests)
    index = Index(
        media.INDEX if has_oci_types else media.DOCKER_LIST,
        tuple(described_one for _, described_one in described),
        index_annotations,
    )
    written = descriptor.to_json(index)
    root = describe(written, index.media_type)._replace(
        annotations=chosen(output.annotations, "index-descriptor")
    )
    contents[root.digest] = written
    return Documents(root, contents, manifests)


def created_annotation(images: Sequence[ImageResult]) -> tuple[tuple[str, str], ...]:
    """Give the annotation that says when the image was made; none if it is not known."""
    created = images[0].config.created if images else None
    return ((CREATED, created),) if created else ()


def _has_oci_types(images: Sequence[ImageResult], output: Output) -> bool:
    """Docker's media types know neither zstd nor annotations: these imply OCI's."""
    has_annotations = bool(output.annotations) or any(image.annotations for image in images)
    has_zstd = any(
        media.compression_of(layer.descriptor.media_type) == "zstd"
        for image in images
        for layer in image.layers
    )
    return output.has_oci_types or has_annotations or has_zstd


def _manifest(
    image: ImageResult, output: Output, contents: dict[Digest, bytes], *, has_oci_types: bool
) -> tuple[Manifest, Descriptor]:
    typed = media.to_oci if has_oci_types else media.to_docker
    config_bytes = image.config_bytes or config.to_json(image.config)
    config_descriptor = describe(config_bytes, typed(media.CONFIG))
    contents[config_descriptor.digest] = config_bytes
    annotations = {
        **dict(image.annotations),
        **dict(chosen(output.annotations, "manifest", image.platform)),
    }
    layers = tuple(
        Descriptor(
            typed(layer.descriptor.media_type), layer.descriptor.digest, layer.descriptor.size_bytes
        )
        for layer in image.layers
    )
    manifest = Manifest(
        typed(media.MANIFEST), config_descriptor, layers, tuple(sorted(annotations.items()))
    )
    written = descriptor.to_json(manifest)
    contents[digest_of(written)] = written
    return manifest, describe(written, manifest.media_type, image.platform)._replace(
        annotations=chosen(output.annotations, "manifest-descriptor", image.platform)
    )
