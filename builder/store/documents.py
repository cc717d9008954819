"""Manifests, indexes and configs, read from the content store, their digests checked."""

import os
from collections.abc import Iterator, Sequence

from builder.errors import InvalidImage, NotFound
from builder.oci import media
from builder.oci.config import MAX_CONFIG_BYTES, ImageConfig, parse_config
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest_or_index,
)
from builder.oci.digest import Digest
from builder.oci.platform import Platform, best_match, host_platform
from builder.store.content import Content


class Documents:
    """The documents of one content store; what is read is pinned unless it is said otherwise."""

    def __init__(self, content: Content) -> None:
        """Keep the content store."""
        self._content = content

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        """Read a manifest or index; its digest is checked."""
        content = self._content.read(descriptor.digest, limit=MAX_MANIFEST_BYTES)
        return parse_manifest_or_index(content, descriptor.media_type)

    def manifest(
        self, descriptor: Descriptor, platform: Platform | None = None
    ) -> tuple[Descriptor, Manifest]:
        """Read an image's manifest; of an index, that of the platform (None: this machine's).

        Raises InvalidImage or NotFound.
        """
        document = self.document(descriptor)
        if isinstance(document, Manifest):
            return descriptor, document
        wanted = platform or host_platform(os.uname().machine)
        chosen = best_match(wanted, [entry.platform for entry in document.manifests])
        if chosen is None:
            raise NotFound(
                f"image {descriptor.digest} has no variant for {wanted}",
                fix="choose another --platform",
            )
        inner = document.manifests[chosen]
        found = self.document(inner)
        if isinstance(found, Index):
            raise InvalidImage(f"the index {descriptor.digest} names another index")
        return inner, found

    def config_bytes(self, manifest: Manifest) -> bytes:
        """Read an image's config as it was written; its digest is checked."""
        return self._content.read(manifest.config.digest, limit=MAX_CONFIG_BYTES)

    def config(self, manifest: Manifest) -> ImageConfig:
        """Read and parse an image's config."""
        return parse_config(self.config_bytes(manifest))

    def any_manifest(self, descriptor: Descriptor) -> tuple[Descriptor, Manifest]:
        """Read the manifest that names the image: of an index, this machine's or the first here."""
        try:
            return self.manifest(descriptor)
        except NotFound:
            document = self.document(descriptor)
            if isinstance(document, Index):
                for entry in document.manifests:
                    if self._content.has(entry.digest):
                        return self.manifest(entry)
            raise

    def closure(self, descriptor: Descriptor) -> Iterator[Descriptor]:
        """Go through an image's descriptors: itself, and of what is here, what that names.

        Pins nothing. A descriptor without media type is a manifest or index, it is not known which.
        """
        try:
            content = self._content.peek(descriptor.digest, limit=MAX_MANIFEST_BYTES)
        except NotFound:
            yield descriptor
            return
        document = parse_manifest_or_index(content, descriptor.media_type or None)
        yield descriptor._replace(media_type=document.media_type, size_bytes=len(content))
        if isinstance(document, Manifest):
            yield from (document.config, *document.layers)
            return
        for entry in document.manifests:
            if media.to_oci(entry.media_type) in {media.MANIFEST, media.INDEX}:
                yield from self.closure(entry)
            else:
                yield entry

    def chains(self, parts: Sequence[Descriptor]) -> Iterator[tuple[Digest, ...]]:
        """Give the diff IDs of every image config among an image's descriptors. Pins nothing."""
        for part in parts:
            if media.to_oci(part.media_type) == media.CONFIG:
                try:
                    content = self._content.peek(part.digest, limit=MAX_CONFIG_BYTES)
                    yield parse_config(content).diff_ids
                except (NotFound, InvalidImage):
                    continue
