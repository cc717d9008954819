"""`content/index.json`: the images as other tools see them, and a second copy of the names.

Spec: OCI image-spec, image-index.md and annotations.md.
"""

import contextlib
from collections.abc import Iterator, Sequence

from builder.errors import InvalidImage, UsageError
from builder.oci import descriptor as oci_descriptor
from builder.oci import json, media
from builder.oci.descriptor import MAX_INDEX_ENTRIES, Descriptor, descriptor_json
from builder.oci.digest import Digest
from builder.oci.platform import Platform, parse_platform
from builder.oci.reference import parse_reference
from builder.store import atomic
from builder.store.database import Row
from builder.store.paths import Paths

NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
FILE_NAME = "content/index.json"
_MAX_INDEX_BYTES = 64 << 20


def document(images: Sequence[Row], tags: Sequence[Row]) -> bytes:
    """Write the index of the images.

    Rows are (digest, media type, size, platform) and (name, digest), the newest name first.
    """
    known = {row[0]: _descriptor(row) for row in images}
    entries: list[Descriptor] = []
    bare: set[str] = set()
    named: set[str] = set()
    for name, digest in tags:
        named.add(digest)
        reference = parse_reference(name)
        entries.append(_annotated(known[digest], name, reference.familiar))
        if reference.tag and reference.tag not in bare:
            bare.add(reference.tag)
            entries.append(_annotated(known[digest], name, reference.tag))
    entries += [known[digest] for digest in known if digest not in named]
    entries.sort(key=lambda entry: (entry.digest, entry.annotations))
    value = {
        "schemaVersion": 2,
        "mediaType": media.INDEX,
        "manifests": [descriptor_json(entry) for entry in entries],
    }
    return json.dumps(value)


def read(paths: Paths) -> Iterator[tuple[str | None, Descriptor]]:
    """Read names and descriptors back; a broken file gives none. Bare tags are left out."""
    content = atomic.read(paths.index, _MAX_INDEX_BYTES) or b""
    try:
        value = json.load_object(content, what="index.json", max_bytes=_MAX_INDEX_BYTES)
        entries = json.members(value, "manifests", limit=2 * MAX_INDEX_ENTRIES)
    except InvalidImage:
        return
    seen: set[tuple[str | None, Digest]] = set()
    for entry in entries:
        with contextlib.suppress(InvalidImage):
            found = oci_descriptor.parse_descriptor(entry)
            name = found.annotation(NAME)
            if (name, found.digest) not in seen:
                seen.add((name, found.digest))
                yield name, found._replace(annotations=())


def _descriptor(row: Row) -> Descriptor:
    return Descriptor(row[1], Digest(row[0]), row[2], _platform(row[3]))


def _platform(text: str) -> Platform | None:
    try:
        return parse_platform(text) if text else None
    except UsageError:
        return None


def _annotated(descriptor: Descriptor, name: str, ref_name: str) -> Descriptor:
    return descriptor._replace(annotations=((NAME, name), (REF_NAME, ref_name)))
