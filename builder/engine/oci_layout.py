"""Images in an OCI layout: its index, and everything that the index names.

Documents are parsed strictly, each blob is compared with its descriptor, each layer with its diff
ID. An index may name platforms that the archive does not hold; a manifest must be complete.

Spec: OCI image-spec, image-layout.md.
"""

from collections.abc import Sequence

from builder.engine.found import FoundImage, name_in_archive, verified_blob, verified_layer
from builder.engine.members import Member, Members
from builder.errors import InvalidImage
from builder.exporters.layout import IMAGE_NAME, INDEX_FILE, REF_NAME, blob_path
from builder.oci import media
from builder.oci.config import MAX_CONFIG_BYTES, check_layer_count, parse_config
from builder.oci.descriptor import (
    MAX_INDEX_ENTRIES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest_or_index,
)
from builder.oci.digest import Digest
from builder.oci.platform import Platform, best_match
from builder.oci.reference import Reference
from builder.values import NamedTuple

_MAX_DEPTH = 8
_CONFIGS = frozenset({media.CONFIG, media.DOCKER_CONFIG})


class _Absent(InvalidImage):
    """A blob that the archive names is not in it."""


class _Candidate(NamedTuple):
    """A complete image of one platform."""

    platform: Platform
    image_id: Digest


def oci_images(members: Members, platform: Platform) -> list[FoundImage]:
    """Read and verify all images of a layout; of several platforms under a name the best.

    Raises InvalidImage.
    """
    member = members.find(INDEX_FILE)
    if member is None:
        raise InvalidImage(f"the layout has no {INDEX_FILE}")
    index = parse_manifest_or_index(member.read(limit=MAX_MANIFEST_BYTES), media.INDEX)
    if not isinstance(index, Index):
        raise InvalidImage(f"{INDEX_FILE} is not an index")
    found = []
    for descriptor, names in _chosen(index.manifests, platform):
        tree = _Tree(members)
        tree.add(descriptor)
        if tree.candidates:
            image_id = _best(tree.candidates, platform).image_id
            found.append(FoundImage(descriptor, image_id, names, tuple(tree.blobs.values())))
    if not found:
        raise InvalidImage("the layout holds no image")
    return found


def _chosen(
    entries: Sequence[Descriptor], platform: Platform
) -> list[tuple[Descriptor, tuple[Reference, ...]]]:
    """Give each image once, with all its names."""
    by_name: dict[Reference | Digest, list[Descriptor]] = {}
    for entry in entries:
        by_name.setdefault(_name(entry) or entry.digest, []).append(entry)
    named: dict[Digest, tuple[Descriptor, tuple[Reference, ...]]] = {}
    for name, offers in by_name.items():
        position = best_match(platform, [offer.platform for offer in offers])
        entry = offers[-1 if position is None else position]
        _, names = named.get(entry.digest, (entry, ()))
        more = (name,) if isinstance(name, Reference) else ()
        named[entry.digest] = (entry._replace(annotations=()), (*names, *more))
    return list(named.values())


def _name(entry: Descriptor) -> Reference | None:
    """Read an entry's name: a full one, or a reference that is more than a mere tag."""
    name = entry.annotation(IMAGE_NAME)
    if name is None:
        name = entry.annotation(REF_NAME) or ""
        if ":" not in name and "/" not in name:
            return None
    return name_in_archive(name)


def _best(candidates: Sequence[_Candidate], platform: Platform) -> _Candidate:
    position = best_match(platform, [candidate.platform for candidate in candidates])
    return candidates[position or 0]


class _Tree:
    """All blobs below one root document, and the images among them."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._documents = 0
        self.blobs: dict[Digest, Member] = {}
        self.candidates: list[_Candidate] = []

    def add(self, descriptor: Descriptor, depth: int = 0) -> None:
        """Verify a document and what it names, children first."""
        self._documents += 1
        if depth > _MAX_DEPTH or self._documents > MAX_INDEX_ENTRIES:
            raise InvalidImage("the archive's indexes are nested too deeply, or too many")
        if descriptor.digest in self.blobs:
            return
        member = self._member(descriptor)
        content = member.read(limit=MAX_MANIFEST_BYTES)
        match parse_manifest_or_index(content, descriptor.media_type):
            case Index(manifests=children):
                for child in children:
                    self._add_if_complete(child, depth + 1)
            case Manifest() as manifest:
                self._add_manifest(manifest, descriptor)
        self.blobs[descriptor.digest] = member

    def _add_if_complete(self, child: Descriptor, depth: int) -> None:
        before = dict(self.blobs)
        try:
            self.add(child, depth)
        except _Absent:
            self.blobs = before

    def _add_manifest(self, manifest: Manifest, descriptor: Descriptor) -> None:
        config_member = self._member(manifest.config)
        layers = [
            None if layer.urls and self._find(layer) is None else self._member(layer)
            for layer in manifest.layers
        ]
        is_image = manifest.config.media_type in _CONFIGS
        if is_image and all(media.is_layer(layer.media_type) for layer in manifest.layers):
            config = parse_config(config_member.read(limit=MAX_CONFIG_BYTES))
            check_layer_count(config, len(layers))
            for layer, member, diff_id in zip(
                manifest.layers, layers, config.diff_ids, strict=True
            ):
                if member is not None:
                    _check_layer(layer, member, diff_id)
            platform = descriptor.platform or config.platform
            self.candidates.append(_Candidate(platform, manifest.config.digest))
        for member in (*layers, config_member):
            if member is not None:
                self.blobs[member.digest] = member

    def _find(self, descriptor: Descriptor) -> Member | None:
        return self._members.find(blob_path(descriptor.digest))

    def _member(self, descriptor: Descriptor) -> Member:
        member = self._find(descriptor)
        if member is None:
            raise _Absent(f"the archive does not hold the blob {descriptor.digest}")
        verified_blob(member, descriptor)
        return member


def _check_layer(layer: Descriptor, member: Member, diff_id: Digest) -> None:
    compression = verified_layer(member, diff_id)
    if compression != media.compression_of(layer.media_type):
        raise InvalidImage(
            f"the layer {layer.digest} is called {layer.media_type}, but its compression is "
            f"{compression}"
        )
