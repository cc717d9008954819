"""Images as files, taken as they are: any media type, nothing converted.

Two forms: an OCI layout, and the `dir` of the containers tools (manifest.json beside blobs named by
their hexadecimal digests). Every blob is compared with the descriptor that names it.

Spec: OCI image-spec, image-layout.md; containers-transports(5), "dir".
"""

import os
from collections.abc import Callable

from builder.engine.found import verified_blob
from builder.engine.members import Member, Members
from builder.errors import InvalidImage, KernelError, NotFound
from builder.exporters.blobs import Blobs, write_all
from builder.exporters.destination import written
from builder.exporters.layout import IMAGE_NAME, INDEX_FILE, REF_NAME, blob_path
from builder.oci import media
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    describe,
    parse_manifest_or_index,
)
from builder.oci.digest import Digest, hex_of
from builder.store.content import Content

FOLDER_MANIFEST = "manifest.json"
FOLDER_VERSION = "version"
VERSION_CONTENT = b"Directory Transport Version: 1.1\n"
MAX_DOCUMENTS = 10_000
_STDOUT = 1

Naming = Callable[[Descriptor, bool], str]
"""The file of a blob; True for manifests and indexes below the root."""


def read_layout(
    members: Members, name: str, location: str
) -> tuple[Descriptor, tuple[Member, ...]]:
    """Find the image of a name in an OCI layout, the only one for an empty name.

    Raises InvalidImage or NotFound.
    """
    member = members.find(INDEX_FILE)
    if member is None:
        raise InvalidImage(f"{location} is no OCI layout: it has no {INDEX_FILE}")
    index = parse_manifest_or_index(member.read(limit=MAX_MANIFEST_BYTES), media.INDEX)
    if not isinstance(index, Index):
        raise InvalidImage(f"{INDEX_FILE} is not an index")
    fitting = [entry for entry in index.manifests if not name or _is_named(entry, name)]
    digests = {entry.digest for entry in fitting}
    if len(digests) != 1:
        names = sorted({entry.annotation(REF_NAME) or entry.digest for entry in index.manifests})
        raise NotFound(
            f"{location} holds no image named {name!r}"
            if name
            else f"{location} holds {len(digests)} images, and none is named",
            fix=f"name one of {', '.join(names[:20])}" if names else None,
        )
    root = fitting[0]._replace(annotations=())
    return root, _tree(members, root, lambda blob, _is_document: blob_path(blob.digest))


def read_folder(members: Members) -> tuple[Descriptor, tuple[Member, ...]]:
    """Read the image of a `dir`; raise NotFound."""
    member = members.find(FOLDER_MANIFEST)
    if member is None:
        raise NotFound(f"there is no {FOLDER_MANIFEST} in the directory")
    content = member.read(limit=MAX_MANIFEST_BYTES)
    document = parse_manifest_or_index(content)
    root = describe(content, document.media_type)
    return root, _tree(
        members, root, lambda blob, is_document: _folder_name(root, blob, is_document=is_document)
    )


def write_folder(content: Content, root: Descriptor, path: str) -> None:
    """Write an image as a `dir`; the manifest comes last.

    Raises KernelError.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, path) from None
    blobs = Blobs(content)
    parts = _parts(lambda one: content.read(one.digest, limit=MAX_MANIFEST_BYTES), root)
    for blob, is_document in reversed(parts):
        name = _folder_name(root, blob, is_document=is_document)
        if not blob.urls or content.has(blob.digest):
            with written(os.path.join(path, name), _STDOUT) as out:
                blobs.copy(blob, out)
    with written(os.path.join(path, FOLDER_VERSION), _STDOUT) as out:
        write_all(out, VERSION_CONTENT)


def _folder_name(root: Descriptor, blob: Descriptor, *, is_document: bool) -> str:
    if blob.digest == root.digest:
        return FOLDER_MANIFEST
    return f"{hex_of(blob.digest)}.manifest.json" if is_document else hex_of(blob.digest)


def _is_named(entry: Descriptor, name: str) -> bool:
    return name in {entry.annotation(REF_NAME), entry.annotation(IMAGE_NAME), entry.digest}


def _tree(members: Members, root: Descriptor, naming: Naming) -> tuple[Member, ...]:
    """Read and verify everything below a root; children first."""
    found: dict[Digest, Member] = {}

    def member_of(blob: Descriptor, *, is_document: bool) -> Member | None:
        member = members.find(naming(blob, is_document))
        if member is None:
            if blob.urls:
                return None
            raise InvalidImage(f"{blob.digest} is named, but not there")
        verified_blob(member, blob)
        found[blob.digest] = member
        return member

    def document(blob: Descriptor) -> bytes:
        member = member_of(blob, is_document=True)
        return b"" if member is None else member.read(limit=MAX_MANIFEST_BYTES)

    for blob, is_document in _parts(document, root):
        if not is_document and blob.digest not in found:
            member_of(blob, is_document=False)
    return tuple(reversed(found.values()))


def _parts(read: Callable[[Descriptor], bytes], root: Descriptor) -> list[tuple[Descriptor, bool]]:
    """List everything below a root, parents first, and whether it is a document."""
    found: list[tuple[Descriptor, bool]] = []
    seen: set[Digest] = set()
    pending = [root]
    while pending:
        descriptor = pending.pop(0)
        if descriptor.digest in seen:
            continue
        seen.add(descriptor.digest)
        if len(seen) > MAX_DOCUMENTS:
            raise InvalidImage("the image has too many parts")
        is_document = descriptor.media_type in media.INDEXES | media.MANIFESTS
        found.append((descriptor, is_document))
        if is_document:
            match parse_manifest_or_index(read(descriptor), descriptor.media_type):
                case Index(manifests=manifests):
                    pending += manifests
                case Manifest(config=config, layers=layers):
                    pending += (config, *layers)
    return found
