"""Images in the archive of `docker save`: `manifest.json`, and the members that it names.

Every name is looked up among the members, whatever path it looks like. Digests are computed from
the bytes, the names of the files mean nothing. Archives that are OCI layouts as well hold the
image's manifest, which is taken if it says the same: so its digest stays.

Spec: docker/docker, image/spec/v1.2.md, "Combined Image JSON + Filesystem Changeset Format".
"""

from builder.engine.found import FoundImage, name_in_archive, verified_layer
from builder.engine.members import Member, Members
from builder.errors import InvalidImage
from builder.exporters.layout import DOCKER_FILE, INDEX_FILE, blob_path
from builder.oci import descriptor as descriptors
from builder.oci import json, media
from builder.oci.config import MAX_CONFIG_BYTES, check_layer_count, parse_config
from builder.oci.descriptor import (
    MAX_LAYERS,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    describe,
    parse_manifest_or_index,
)

MAX_IMAGES = 1000


def docker_images(members: Members) -> list[FoundImage]:
    """Read and verify all images of a docker archive; raise InvalidImage."""
    member = members.find(DOCKER_FILE)
    if member is None:
        raise InvalidImage(
            "this is no image archive: it has neither index.json nor manifest.json",
            fix="give an OCI archive or the output of save; import takes a root file system",
        )
    listed = json.loads(member.read(limit=json.MAX_DOCUMENT_BYTES), what=DOCKER_FILE)
    images = json.members({"images": listed}, "images", limit=MAX_IMAGES)
    if not images:
        raise InvalidImage(f"{DOCKER_FILE} lists no image")
    return [_image(members, image) for image in images]


def _image(members: Members, image: json.Object) -> FoundImage:
    names = json.strings(image, "RepoTags") or ()
    config_member = _member(members, json.string(image, "Config"))
    content = config_member.read(limit=MAX_CONFIG_BYTES)
    config = parse_config(content)
    layers = [_member(members, name) for name in json.strings(image, "Layers") or ()]
    if len(layers) > MAX_LAYERS:
        raise InvalidImage(f"the image has more than {MAX_LAYERS} layers")
    check_layer_count(config, len(layers))
    described = tuple(
        Descriptor(
            media.layer_media_type(verified_layer(layer, diff_id)), layer.digest, layer.size_bytes
        )
        for layer, diff_id in zip(layers, config.diff_ids, strict=True)
    )
    manifest = Manifest(media.MANIFEST, describe(content, media.CONFIG), described)
    manifest, written = _own(members, manifest) or (manifest, descriptors.to_json(manifest))
    root = describe(written, manifest.media_type, config.platform)
    document = Member("manifest", root.digest, root.size_bytes, written, None)
    return FoundImage(
        root,
        manifest.config.digest,
        tuple(name_in_archive(name) for name in names),
        (*layers, config_member, document),
    )


def _own(members: Members, made: Manifest) -> tuple[Manifest, bytes] | None:
    """Find the manifest of the same config and layers in the archive's own layout."""
    index = members.find(INDEX_FILE)
    if index is None:
        return None
    try:
        listed = parse_manifest_or_index(index.read(limit=MAX_MANIFEST_BYTES), media.INDEX)
    except InvalidImage:
        return None  # it was not asked for
    for entry in listed.manifests if isinstance(listed, Index) else ():
        member = members.find(blob_path(entry.digest))
        if member is None or member.digest != entry.digest:
            continue
        content = member.read(limit=MAX_MANIFEST_BYTES)
        found = parse_manifest_or_index(content, entry.media_type)
        if isinstance(found, Manifest) and _parts(found) == _parts(made):
            return found, content
    return None


def _parts(manifest: Manifest) -> list[tuple[str, str, int]]:
    """List what a manifest consists of, whichever names it has for the media types."""
    parts = (manifest.config, *manifest.layers)
    return [(media.to_oci(one.media_type), one.digest, one.size_bytes) for one in parts]


def _member(members: Members, name: str) -> Member:
    member = members.find(name)
    if member is None:
        raise InvalidImage(f"{DOCKER_FILE} names {name[:200]!r}, which the archive does not hold")
    return member
