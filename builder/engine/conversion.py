"""Images in another form: OCI's media types or Docker's, and layers compressed otherwise.

What need not change keeps its digest: configs always, layers that are compressed as wanted, and
documents that come out equal. Diff IDs never change, and are checked. A layer that was compressed
anew is remembered with what it was made from, so that the way back gives the first digest again.

Spec: OCI image-spec, media-types.md, "Compatibility Matrix".
"""

import os
from collections.abc import Callable
from typing import Literal

from builder.concurrency import CancelToken, Pool
from builder.errors import Conflict, InvalidImage, NotFound, UsageError
from builder.exporters.convert import rewritten
from builder.exporters.output import check_level
from builder.oci import media
from builder.oci.config import check_layer_count
from builder.oci.descriptor import Descriptor, Index, Manifest, describe, to_json
from builder.oci.digest import Digest, parse_digest
from builder.oci.layer import Layer
from builder.oci.media import Compression
from builder.registry.pull import is_image
from builder.store.store import Store
from builder.values import NamedTuple

Format = Literal["oci", "docker"]

MAX_DEPTH = 4
_WORKERS = 4
_ORIGIN = b"layer-origin/1"
_SUBJECT = "vnd.docker.reference.digest"
_ABOUT_BYTES = (
    "containerd.io/snapshot/stargz/",
    "io.containers.estargz.",
    "io.github.containers.zstd-chunked.",
)
"""Annotations that describe a layer's compressed bytes: wrong of any others."""


class Conversion(NamedTuple):
    """What an image is to be; None leaves it as it is."""

    format: Format | None = None
    compression: Compression | None = None
    level: int | None = None
    has_zstd: bool = True
    """Whether layers may stay zstd, where no compression is asked for."""
    is_refused: bool = False
    """Raise Conflict rather than change any digest."""

    @property
    def is_identity(self) -> bool:
        """Whether nothing is asked for."""
        return self.format is None and self.compression is None and self.has_zstd


def format_of(text: str) -> Format:
    """Read `--format`; raise UsageError."""
    match text:
        case "oci":
            return "oci"
        case "docker" | "v2s2":
            return "docker"
        case _:
            raise UsageError(f"{text!r} is not a format of images", fix="use oci or docker")


def compression_of(text: str) -> Compression:
    """Read `--compression`; raise UsageError."""
    match text:
        case "gzip" | "zstd" | "none":
            return text
        case "uncompressed":
            return "none"
        case _:
            raise UsageError(f"{text!r} is not a compression", fix="use gzip, zstd or none")


def conversion(
    format: Format | None,  # noqa: A002 - the option's name
    compression: Compression | None,
    level: int | None,
    *,
    is_refused: bool,
) -> Conversion:
    """Put together what the user asks for; raise UsageError for what cannot be."""
    if format == "docker" and compression == "zstd":
        raise UsageError(
            "Docker's media types know no zstd layers", fix="use --format oci, or gzip"
        )
    if level is not None and compression is None:
        raise UsageError("a compression level needs --compression", fix="add --compression gzip")
    check_level(compression, level)
    if compression == "zstd":
        format = "oci"  # noqa: A001 - nothing else can hold it
    return Conversion(format, compression, level, format != "docker", is_refused)


class Converter:
    """Converts images of one store, where they are; names stay with what they name."""

    def __init__(self, store: Store, wanted: Conversion, token: CancelToken) -> None:
        """Keep the collaborators."""
        self._store = store
        self._wanted = wanted
        self._token = token
        self._layers: dict[Digest, Descriptor] = {}
        self.left_out: list[str] = []
        """What the wanted format has no place for, for people."""

    def is_needed(self, root: Descriptor) -> bool:
        """Whether anything below a root would change; Conflict if that is refused."""
        is_needed = any(self._is_changed(document) for document in self._documents(root))
        if is_needed and self._wanted.is_refused:
            raise Conflict(
                f"{root.digest} would have to be converted, and its digests are to be preserved",
                fix="leave out --preserve-digests, or what asks for another form",
            )
        return is_needed

    def converted(self, root: Descriptor) -> Descriptor:
        """Give the root of the image as it is wanted, all of it in the store.

        Raises InvalidImage for an artefact that would have to change.
        """
        todo: dict[Digest, Layer] = {}
        for document in self._documents(root):
            if isinstance(document, Manifest) and is_image(document):
                for layer in self._due(document):
                    todo.setdefault(layer.descriptor.digest, layer)
        with Pool(min(_WORKERS, os.cpu_count() or 1)) as pool:
            tasks = [(digest, pool.submit(self._layer, layer)) for digest, layer in todo.items()]
            self._layers = {digest: task.result() for digest, task in tasks}
        return self._rebuilt(root)

    def _documents(self, root: Descriptor) -> list[Manifest | Index]:
        """Read all documents below a root; raise NotFound if one is not here."""
        found: list[Manifest | Index] = []
        level = [root]
        for _ in range(MAX_DEPTH):
            documents = [self._document(one) for one in level]
            found += documents
            level = [
                entry
                for document in documents
                if isinstance(document, Index)
                for entry in document.manifests
            ]
            if not level:
                return found
        raise InvalidImage("the indexes are nested too deeply")

    def _document(self, descriptor: Descriptor) -> Manifest | Index:
        if not self._store.content.has(descriptor.digest):
            raise NotFound(
                f"the image's variant for {descriptor.platform} is not here",
                fix="pull it with --all-platforms, or copy one with --platform",
            )
        return self._store.images.document(descriptor)

    def _is_changed(self, document: Manifest | Index) -> bool:
        if self._typed(document.media_type) != document.media_type:
            return True
        if not isinstance(document, Manifest) or not is_image(document):
            return False
        parts = (document.config, *document.layers)
        return any(
            self._typed(part.media_type) != part.media_type or self._compression(part) is not None
            for part in parts
        )

    def _typed(self, media_type: str) -> str:
        match self._wanted.format:
            case "docker":
                return media.to_docker(media_type)
            case "oci":
                return media.to_oci(media_type)
            case None:
                return media_type

    def _compression(self, layer: Descriptor) -> Compression | None:
        """Tell how a layer is to be compressed anew; None if it stays as it is."""
        if not media.is_layer(layer.media_type) or media.is_foreign(layer.media_type):
            return None
        present = media.compression_of(layer.media_type)
        wanted = self._wanted.compression
        if wanted is None:
            return "gzip" if present == "zstd" and not self._wanted.has_zstd else None
        return wanted if present != wanted or self._wanted.level is not None else None

    def _due(self, manifest: Manifest) -> list[Layer]:
        """List the layers of an image that are to be compressed anew, with their diff IDs."""
        if all(self._compression(layer) is None for layer in manifest.layers):
            return []
        config = self._store.images.config(manifest)
        check_layer_count(config, len(manifest.layers))
        return [
            Layer(diff_id, layer)
            for diff_id, layer in zip(config.diff_ids, manifest.layers, strict=True)
            if self._compression(layer) is not None
        ]

    def _layer(self, layer: Layer) -> Descriptor:
        """Compress a layer anew, or find what it was made from."""
        self._token.check()
        compression = self._compression(layer.descriptor)
        assert compression is not None  # noqa: S101 - only such layers are due
        level = self._wanted.level
        before = self._origin(layer.descriptor.digest, compression) if level is None else None
        if before is not None:
            return before
        made = rewritten(self._store, layer, compression, level)
        if made.diff_id != layer.diff_id:
            raise InvalidImage(
                f"layer {layer.descriptor.digest} unpacks to {made.diff_id},"
                f" not to {layer.diff_id} as the config says"
            )
        present = media.compression_of(layer.descriptor.media_type)
        if present != compression:
            key = _origin_key(made.descriptor.digest, present)
            origin = f"{layer.descriptor.size_bytes} {layer.descriptor.digest}"
            self._store.records.remember(key, origin.encode())
        return made.descriptor

    def _origin(self, digest: Digest, compression: Compression) -> Descriptor | None:
        value = self._store.records.memo(_origin_key(digest, compression))
        if value is None:
            return None
        size, _, text = value.decode().partition(" ")
        origin = parse_digest(text)
        if not self._store.content.has(origin):
            return None
        return Descriptor(media.layer_media_type(compression), origin, int(size))

    def _rebuilt(self, descriptor: Descriptor) -> Descriptor:
        document = self._document(descriptor)
        if isinstance(document, Index):
            made: Manifest | Index = self._index(document)
        elif is_image(document):
            made = self._manifest(document)
        elif self._is_changed(document):
            raise InvalidImage(
                f"{descriptor.digest} is an artefact, which Docker's types cannot express",
                fix="leave out --format docker",
            )
        else:
            return descriptor
        if made == document:
            return descriptor
        content = to_json(made)
        self._store.content.put(content)
        described = describe(content, made.media_type, descriptor.platform)
        if self._wanted.format == "docker":
            return described
        return described._replace(
            annotations=descriptor.annotations, artifact_type=descriptor.artifact_type
        )

    def _manifest(self, manifest: Manifest) -> Manifest:
        kind = self._typed(manifest.media_type)
        typed = media.to_docker if kind == media.DOCKER_MANIFEST else media.to_oci
        made = manifest._replace(
            media_type=kind,
            config=manifest.config._replace(media_type=self._typed(manifest.config.media_type)),
            layers=tuple(self._described(layer, typed) for layer in manifest.layers),
        )
        if self._wanted.format != "docker":
            return made
        if manifest.annotations or manifest.subject is not None:
            self.left_out.append("annotations")
        return made._replace(annotations=(), subject=None, artifact_type="")

    def _described(self, layer: Descriptor, typed: Callable[[str], str]) -> Descriptor:
        changed = self._layers.get(layer.digest)
        if changed is None and self._wanted.format is None:
            return layer
        annotations = layer.annotations
        if changed is not None:
            annotations = tuple(
                pair for pair in annotations if not pair[0].startswith(_ABOUT_BYTES)
            )
            layer = layer._replace(
                media_type=changed.media_type, digest=changed.digest, size_bytes=changed.size_bytes
            )
        if self._wanted.format == "docker":
            annotations = ()
        return layer._replace(media_type=typed(layer.media_type), annotations=annotations)

    def _index(self, index: Index) -> Index:
        """Convert all entries; what describes another entry follows it to its new digest."""
        moved: dict[str, str] = {}
        entries = []
        for entry in index.manifests:
            if self._wanted.format == "docker" and not self._has_place(entry):
                self.left_out.append(entry.artifact_type or "attestations")
                continue
            made = self._rebuilt(entry)
            moved[entry.digest] = made.digest
            entries.append(made)
        made_index = index._replace(
            media_type=self._typed(index.media_type),
            manifests=tuple(_following(entry, moved) for entry in entries),
        )
        if self._wanted.format != "docker":
            return made_index
        if index.annotations:
            self.left_out.append("annotations")
        return made_index._replace(annotations=(), subject=None, artifact_type="")

    def _has_place(self, entry: Descriptor) -> bool:
        document = self._document(entry)
        return isinstance(document, Index) or is_image(document)


def _following(entry: Descriptor, moved: dict[str, str]) -> Descriptor:
    annotations = tuple(
        (name, moved.get(value, value) if name == _SUBJECT else value)
        for name, value in entry.annotations
    )
    return entry._replace(annotations=annotations)


def _origin_key(digest: Digest, compression: Compression) -> bytes:
    return b"\0".join((_ORIGIN, digest.encode(), compression.encode()))
