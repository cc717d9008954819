"""Lists of manifests in the making: images of several platforms put together by hand.

A list is kept by name until it is removed. Its entries remember where each manifest came from, so
that a push brings along what the destination lacks; what is in the store stays there.
"""

from collections.abc import Sequence

from builder.concurrency import CancelToken
from builder.engine.copies import Copier
from builder.engine.steps import reported
from builder.errors import Conflict, NotFound, UsageError
from builder.events import Sink
from builder.oci import json, media
from builder.oci.config import MAX_CONFIG_BYTES, parse_config
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    describe,
    to_json,
)
from builder.oci.digest import Digest
from builder.oci.platform import Platform, normalized
from builder.oci.reference import Reference, parse_reference
from builder.oci.transport import REGISTRY
from builder.registry.client import Registries
from builder.registry.pull import Located, Source
from builder.registry.push import Pusher
from builder.store.lists import MAX_ENTRIES, parse_list
from builder.store.lists import ListEntry as Entry
from builder.store.store import Store
from builder.values import NamedTuple


class Annotation(NamedTuple):
    """What to say of a manifest; empty leaves it as it is."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""
    annotations: tuple[tuple[str, str], ...] = ()


class ManifestLists:
    """The lists of one store."""

    def __init__(
        self, store: Store, registries: Registries, token: CancelToken, sink: Sink
    ) -> None:
        """Keep the collaborators."""
        self._store = store
        self._registries = registries
        self._token = token
        self._sink = sink

    def create(self, name: str, manifests: Sequence[str], *, is_amended: bool) -> None:
        """Make a list of images in registries or the store; an index adds all its manifests.

        Raises Conflict.
        """
        with self._store.key_lock(f"list {parse_reference(name)}", self._token):
            known = self._entries(name)
            if known is not None and not is_amended:
                raise Conflict(
                    f"there is a list {name} already", fix="add --amend, or remove it first"
                )
            entries = {entry.descriptor.digest: entry for entry in known or ()}
            for manifest in manifests:
                for entry in self._found(manifest):
                    entries[entry.descriptor.digest] = entry
            self._save(name, list(entries.values()))

    def annotate(self, name: str, manifest: str, annotation: Annotation) -> None:
        """Say for which platform a manifest is, or annotate it; raise NotFound."""
        with self._store.key_lock(f"list {parse_reference(name)}", self._token):
            entries = self._required(name)
            if not any(_is_meant(entry, manifest) for entry in entries):
                raise NotFound(f"the list {name} has no manifest {manifest}")
            changed = [
                _annotated(entry, annotation) if _is_meant(entry, manifest) else entry
                for entry in entries
            ]
            self._save(name, changed)

    def inspect(self, name: str) -> bytes:
        """Give the document of a name: a list of ours, an image of the store, or a registry's.

        `docker://NAME` asks the registry alone.
        """
        if name.startswith(REGISTRY):
            return self._remote(parse_reference(name.removeprefix(REGISTRY)))
        entries = self._entries(name)
        if entries is not None:
            return to_json(_index(entries))
        image = self._store.images.resolve(name)
        if image is not None:
            return self._store.content.read(image.descriptor.digest, limit=MAX_MANIFEST_BYTES)
        return self._remote(parse_reference(name))

    def _remote(self, reference: Reference) -> bytes:
        wanted = str(reference.digest or reference.tag)
        return self._registries.first(reference, lambda one: one.manifest(wanted))[1].content

    def push(self, name: str, target: str, *, is_removed: bool) -> Digest:
        """Push a list as an index, with everything that it names."""
        entries = self._required(name)
        reference = parse_reference(target)
        with reported(self._sink, f"pushing {reference.familiar}") as step:
            copier = Copier(
                self._store, self._registries, self._token, self._sink, Platform("linux", "amd64")
            )
            for entry in entries:
                if not self._is_whole(entry.descriptor):
                    copier.fetch(entry.source, None, step)
            content = to_json(_index(entries))
            self._store.content.put(content)
            root = describe(content, _index(entries).media_type)
            repository = self._registries.destination(reference)
            origins = _origins(entries, reference)
            pusher = Pusher(
                self._store.content, repository, self._token, origins=lambda _digest: origins
            )
            pusher.push(root, [reference.tag] if reference.tag else [])
        if is_removed:
            self.remove(name)
        return root.digest

    def remove(self, name: str) -> None:
        """Forget a list; what it held may be collected."""
        self._required(name)
        self._store.lists.remove(parse_reference(name))

    def _found(self, name: str) -> list[Entry]:
        reference = parse_reference(name.removeprefix(REGISTRY))
        image = self._store.images.get(reference)
        if image is not None:
            return self._stored(image.descriptor, reference)
        source = Source(self._store, self._registries, reference, self._token)
        located = source.locate(None)
        self._store.content.put(located.root.content)
        document = located.root.document
        if isinstance(document, Index):
            return [_entry(one, reference) for one in document.manifests]
        platform = self._platform(source, located, document)
        return [_entry(located.root.descriptor._replace(platform=platform), reference)]

    def _stored(self, descriptor: Descriptor, reference: Reference) -> list[Entry]:
        document = self._store.images.document(descriptor)
        if isinstance(document, Index):
            return [_entry(one, reference) for one in document.manifests]
        platform = self._store.images.config(document).platform
        return [_entry(descriptor._replace(platform=normalized(platform)), reference)]

    def _platform(self, source: Source, located: Located, manifest: Manifest) -> Platform:
        source.fetch_blobs(located, [manifest.config])
        content = self._store.content.read(manifest.config.digest, limit=MAX_CONFIG_BYTES)
        return normalized(parse_config(content).platform)

    def _is_whole(self, descriptor: Descriptor) -> bool:
        content = self._store.content
        if not content.has(descriptor.digest):
            return False
        document = self._store.images.document(descriptor)
        if isinstance(document, Index):
            return all(self._is_whole(one) for one in document.manifests)
        return all(content.has(one.digest) for one in (document.config, *document.layers))

    def _required(self, name: str) -> list[Entry]:
        entries = self._entries(name)
        if entries is None:
            raise NotFound(f"there is no list {name}", fix="make it with manifest create")
        return entries

    def _entries(self, name: str) -> list[Entry] | None:
        reference = parse_reference(name)
        entries = self._store.lists.get(reference)
        if entries is not None:
            return list(entries)
        packed = self._store.records.memo(_old_key(reference))
        if not packed:
            return None
        value = json.load_object(packed, what="a list of manifests")
        moved = parse_list(json.dumps({**value, "name": str(reference)})).entries
        self._store.lists.save(reference, moved)
        self._store.records.remember(_old_key(reference), b"")
        return list(moved)

    def _save(self, name: str, entries: Sequence[Entry]) -> None:
        if len(entries) > MAX_ENTRIES:
            raise UsageError(f"a list has room for {MAX_ENTRIES} manifests")
        self._store.lists.save(parse_reference(name), tuple(entries))


def _entry(descriptor: Descriptor, reference: Reference) -> Entry:
    source = reference._replace(tag="", digest=descriptor.digest)
    return Entry(descriptor, str(source))


def _is_meant(entry: Entry, manifest: str) -> bool:
    if manifest in {entry.descriptor.digest, entry.source}:
        return True
    if manifest.startswith("sha256:"):
        return False
    reference = parse_reference(manifest)
    if reference.digest is not None:
        return reference.digest == entry.descriptor.digest
    return entry.source.startswith(f"{reference.name}@")


def _annotated(entry: Entry, annotation: Annotation) -> Entry:
    before = entry.descriptor.platform or Platform("linux", "")
    platform = Platform(
        annotation.os or before.os,
        annotation.architecture or before.architecture,
        annotation.variant or before.variant,
        annotation.os_version or before.os_version,
    )
    annotations = {**dict(entry.descriptor.annotations), **dict(annotation.annotations)}
    descriptor = entry.descriptor._replace(
        platform=platform, annotations=tuple(annotations.items())
    )
    return entry._replace(descriptor=descriptor)


def _index(entries: Sequence[Entry]) -> Index:
    """Make the index; of Docker's kind only if all its manifests are."""
    are_docker = all(one.descriptor.media_type == media.DOCKER_MANIFEST for one in entries)
    has_annotations = any(one.descriptor.annotations for one in entries)
    kind = media.DOCKER_LIST if are_docker and entries and not has_annotations else media.INDEX
    return Index(kind, tuple(one.descriptor for one in entries))


def _origins(entries: Sequence[Entry], target: Reference) -> list[str]:
    sources = [parse_reference(one.source) for one in entries]
    names = [
        one.repository
        for one in sources
        if one.domain == target.domain and one.repository != target.repository
    ]
    return list(dict.fromkeys(names))[:3]


def _old_key(reference: Reference) -> bytes:
    """Where stores of the first version keep a list: among what collection may forget."""
    return f"manifest-list/1 {reference}".encode()
