"""An OCI image layout: blobs in order of their digests, then the index and the marker.

The same tree goes into a tar archive or a directory; a sink knows how. With a `manifest.json` on
top the archive is also what `docker load` reads.

Spec: OCI image-spec, image-layout.md; docker/docker, image/tarexport.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from builder.exporters.blobs import Blobs
from builder.oci import descriptor as descriptors
from builder.oci import json, media
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest_or_index,
)
from builder.oci.digest import Digest, hex_of
from builder.oci.reference import Reference
from builder.values import NamedTuple

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT_FILE = "oci-layout"
INDEX_FILE = "index.json"
DOCKER_FILE = "manifest.json"
LAYOUT_CONTENT = b'{"imageLayoutVersion":"1.0.0"}'


class Root(NamedTuple):
    """An image to write, its names, and the manifest that Docker's list of images shows."""

    descriptor: Descriptor
    names: tuple[Reference, ...] = ()
    docker_manifest: Manifest | None = None


class Sink(Protocol):
    """Something that takes the files of a layout, each once, in the order of the archive."""

    def add_blob(self, name: str, descriptor: Descriptor, blobs: Blobs) -> None:
        """Write a blob under `name`."""
        ...

    def add_file(self, name: str, content: bytes) -> None:
        """Write a small file."""
        ...

    def add_index(self, name: str, index: Index) -> None:
        """Write the index of all images."""
        ...

    def finish(self) -> None:
        """Complete the layout."""
        ...


def write_layout(sink: Sink, roots: Sequence[Root], blobs: Blobs) -> None:
    """Write images and everything below them; each blob is verified while it is copied."""
    entries = [entry for root in roots for entry in _index_entries(root)]
    reachable: dict[Digest, Descriptor] = {}
    for root in roots:
        _collect(root.descriptor, blobs, reachable)
    for digest in sorted(reachable):
        sink.add_blob(blob_path(digest), reachable[digest], blobs)
    sink.add_index(INDEX_FILE, Index(media.INDEX, tuple(entries)))
    if any(root.docker_manifest is not None for root in roots):
        sink.add_file(DOCKER_FILE, _docker_list(roots))
    sink.add_file(LAYOUT_FILE, LAYOUT_CONTENT)
    sink.finish()


def blob_path(digest: Digest) -> str:
    """Name a blob's file in a layout."""
    return f"blobs/sha256/{hex_of(digest)}"


def index_bytes(index: Index) -> bytes:
    """Write the index of a layout."""
    return descriptors.to_json(index)


def _index_entries(root: Root) -> Iterable[Descriptor]:
    """Give one entry for each name, or one without."""
    annotations = dict(root.descriptor.annotations)
    if not root.names:
        yield root.descriptor
    for name in root.names:
        named = {**annotations, IMAGE_NAME: str(name)}
        if name.tag:
            named[REF_NAME] = name.tag
        yield root.descriptor._replace(annotations=tuple(sorted(named.items())))


def _collect(root: Descriptor, blobs: Blobs, reachable: dict[Digest, Descriptor]) -> None:
    """Add a document and all that it names; iterative, each once."""
    pending = [root]
    while pending:
        descriptor = pending.pop()
        if descriptor.digest in reachable:
            continue
        reachable[descriptor.digest] = descriptor
        if descriptor.media_type in media.INDEXES | media.MANIFESTS:
            content = blobs.read(descriptor, limit=MAX_MANIFEST_BYTES)
            match parse_manifest_or_index(content, descriptor.media_type):
                case Index(manifests=manifests):
                    pending += manifests
                case Manifest(config=config, layers=layers):
                    pending.append(config)
                    pending += (one for one in layers if not one.urls or blobs.has(one))


def _docker_list(roots: Sequence[Root]) -> bytes:
    return json.dumps(
        [
            {
                "Config": blob_path(root.docker_manifest.config.digest),
                "RepoTags": [name.familiar for name in root.names if name.tag] or None,
                "Layers": [blob_path(layer.digest) for layer in root.docker_manifest.layers],
            }
            for root in roots
            if root.docker_manifest is not None
        ]
    )
