"""Descriptors, manifests and indexes.

Parsing is strict where a lie could confuse two readers (CVE-2021-41190): a document is a manifest
or an index, never both, and its media type must agree with its content.

Spec: OCI image-spec, descriptor.md, manifest.md, image-index.md.
"""

from builder.errors import InvalidImage
from builder.oci import json, media
from builder.oci.digest import Digest, digest_of, parse_digest
from builder.oci.platform import Platform
from builder.values import NamedTuple

MAX_MANIFEST_BYTES = 4 << 20
MAX_LAYERS = 2_000
MAX_INDEX_ENTRIES = 10_000
_MAX_BLOB_BYTES = 1 << 46


class Descriptor(NamedTuple):
    """A reference to content: its media type, digest and size in bytes."""

    media_type: str
    digest: Digest
    size_bytes: int
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    urls: tuple[str, ...] = ()
    artifact_type: str = ""

    def annotation(self, name: str) -> str | None:
        """Look up one annotation."""
        return dict(self.annotations).get(name)


class Manifest(NamedTuple):
    """One image (or artifact) of one platform: a config and its layers, the lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""


class Index(NamedTuple):
    """Several manifests, as a rule one for each platform."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: tuple[tuple[str, str], ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""


def describe(content: bytes, media_type: str, platform: Platform | None = None) -> Descriptor:
    """Make the descriptor of bytes at hand."""
    return Descriptor(media_type, digest_of(content), len(content), platform)


def parse_manifest_or_index(content: bytes, media_type: str | None = None) -> Manifest | Index:
    """Parse either kind; `media_type` is what a descriptor or header claimed, None if nothing.

    Raises InvalidImage when the document is malformed, ambiguous, or not what was claimed.
    """
    value = json.load_object(content, what="the manifest", max_bytes=MAX_MANIFEST_BYTES)
    if "schemaVersion" in value and json.integer(value, "schemaVersion") == 1:
        raise InvalidImage(
            "the image has a schema 1 manifest, a format withdrawn in 2017",
            fix="push the image again with a current tool",
        )
    declared = json.string(value, "mediaType", "")
    if media_type and declared and media_type != declared:
        raise InvalidImage(f"the manifest says it is {declared!r} but came as {media_type!r}")
    kind = declared or media_type or _guess(value)
    if kind in media.INDEXES:
        return _index(value, kind)
    if kind in media.MANIFESTS:
        return _manifest(value, kind)
    raise InvalidImage(f"{kind!r} is not the media type of an image manifest or index")


def parse_manifest(content: bytes, media_type: str | None = None) -> Manifest:
    """Parse a manifest; raise InvalidImage for an index."""
    parsed = parse_manifest_or_index(content, media_type)
    if not isinstance(parsed, Manifest):
        raise InvalidImage("an image index stands where a manifest is needed")
    return parsed


def to_json(document: Manifest | Index) -> bytes:
    """Write a manifest or index; equal values give equal bytes."""
    value: dict[str, object] = {"schemaVersion": 2, "mediaType": document.media_type}
    if document.artifact_type:
        value["artifactType"] = document.artifact_type
    match document:
        case Manifest():
            value["config"] = descriptor_json(document.config)
            value["layers"] = [descriptor_json(layer) for layer in document.layers]
        case Index():
            value["manifests"] = [descriptor_json(entry) for entry in document.manifests]
    if document.subject is not None:
        value["subject"] = descriptor_json(document.subject)
    if document.annotations:
        value["annotations"] = dict(document.annotations)
    return json.dumps(value)


def descriptor_json(descriptor: Descriptor) -> dict[str, object]:
    """Turn a descriptor into its JSON object."""
    value: dict[str, object] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size_bytes,
    }
    if descriptor.urls:
        value["urls"] = list(descriptor.urls)
    if descriptor.annotations:
        value["annotations"] = dict(descriptor.annotations)
    if descriptor.platform is not None:
        value["platform"] = platform_json(descriptor.platform)
    if descriptor.artifact_type:
        value["artifactType"] = descriptor.artifact_type
    return value


def platform_json(platform: Platform) -> dict[str, str]:
    """Turn a platform into its JSON object."""
    value = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        value["os.version"] = platform.os_version
    if platform.variant:
        value["variant"] = platform.variant
    return value


def parse_descriptor(value: json.Object) -> Descriptor:
    """Read a descriptor's JSON object; raise InvalidImage if a field is missing or impossible."""
    size_bytes = json.integer(value, "size")
    if not 0 <= size_bytes <= _MAX_BLOB_BYTES:
        raise InvalidImage(f"a descriptor's size is {size_bytes}")
    platform = json.member(value, "platform")
    return Descriptor(
        json.string(value, "mediaType"),
        parse_digest(json.string(value, "digest")),
        size_bytes,
        None if platform is None else parse_platform_json(platform),
        tuple(json.string_map(value, "annotations").items()),
        json.strings(value, "urls") or (),
        json.string(value, "artifactType", ""),
    )


def parse_platform_json(value: json.Object) -> Platform:
    """Read a platform's JSON object."""
    return Platform(
        json.string(value, "os", ""),
        json.string(value, "architecture", ""),
        json.string(value, "variant", ""),
        json.string(value, "os.version", ""),
    )


def _guess(value: json.Object) -> str:
    if "manifests" in value:
        return media.INDEX
    if "layers" in value:
        return media.MANIFEST
    return ""


def _manifest(value: json.Object, media_type: str) -> Manifest:
    if "manifests" in value:
        raise InvalidImage("the manifest also claims to be an index")
    config = json.member(value, "config")
    if config is None:
        raise InvalidImage("the manifest has no config")
    layers = json.members(value, "layers", limit=MAX_LAYERS)
    return Manifest(
        media_type,
        parse_descriptor(config),
        tuple(parse_descriptor(layer) for layer in layers),
        tuple(json.string_map(value, "annotations").items()),
        _subject(value),
        json.string(value, "artifactType", ""),
    )


def _index(value: json.Object, media_type: str) -> Index:
    if "layers" in value or "config" in value:
        raise InvalidImage("the index also claims to be a manifest")
    entries = json.members(value, "manifests", limit=MAX_INDEX_ENTRIES)
    return Index(
        media_type,
        tuple(parse_descriptor(entry) for entry in entries),
        tuple(json.string_map(value, "annotations").items()),
        _subject(value),
        json.string(value, "artifactType", ""),
    )


def _subject(value: json.Object) -> Descriptor | None:
    subject = json.member(value, "subject")
    return None if subject is None else parse_descriptor(subject)
