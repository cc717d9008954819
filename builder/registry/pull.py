"""From a reference to an image in the content store: manifests first, then blobs in parallel.

What a tag stands for is asked once; from then on everything goes by digest.
"""

from collections.abc import Sequence

from builder.concurrency import CancelToken, Pool, Task
from builder.errors import BuilderError, Cancelled, InvalidImage, NotInRegistry
from builder.oci import media
from builder.oci.config import MAX_CONFIG_BYTES, ImageConfig, check_layer_count, parse_config
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    parse_manifest_or_index,
)
from builder.oci.platform import Platform, best_match, normalized
from builder.oci.reference import Reference
from builder.registry.client import Registries
from builder.registry.download import Downloader, Report, unreported
from builder.registry.repository import Fetched, Repository
from builder.store.store import Store
from builder.values import NamedTuple

CONNECTIONS = 4
CONFIGS = frozenset({media.CONFIG, media.DOCKER_CONFIG})
_MAX_DEPTH = 4


class Located(NamedTuple):
    """An image as a registry has it: where, its root document, and one platform's manifest."""

    repositories: tuple[Repository, ...]
    """The one that answered stands first."""
    root: Fetched
    chosen: Fetched


class Source:
    """Images of one reference, read into one store."""

    def __init__(
        self,
        store: Store,
        registries: Registries,
        reference: Reference,
        token: CancelToken,
        report: Report = unreported,
    ) -> None:
        """Keep the collaborators; nothing is asked yet."""
        self._store = store
        self._registries = registries
        self._reference = reference
        self._token = token
        self._report = report

    def locate(self, platform: Platform | None, known: Descriptor | None = None) -> Located:
        """Ask what the reference stands for, and choose the platform's manifest.

        `known` is what it stood for last time: if that is so still, nothing is transferred. A
        platform of None leaves the choice open: the root itself is what is chosen.
        Raises InvalidImage.
        """
        named = self._reference.digest or self._reference.tag
        repository, root = self._registries.first(
            self._reference, lambda one: self._root(one, str(named), known)
        )
        others = (one for one in self._registries.repositories(self._reference))
        repositories = (repository, *(one for one in others if one.endpoint != repository.endpoint))
        chosen = root
        if platform is not None and isinstance(root.document, Index):
            entry = chosen_entry(root.document, platform, self._reference.familiar)
            chosen = self._document(repositories, entry)
            if isinstance(chosen.document, Index):
                raise InvalidImage(f"the index {root.descriptor.digest} names another index")
        return Located(repositories, root, chosen)

    def config(self, located: Located) -> ImageConfig:
        """Fetch the config of the chosen manifest; InvalidImage if this is no image."""
        manifest = image_manifest(located.chosen)
        downloader = self.downloader(located)
        downloader.fetch(manifest.config)
        content = self._store.content.read(manifest.config.digest, limit=MAX_CONFIG_BYTES)
        config = parse_config(content)
        check_layer_count(config, len(manifest.layers))
        return config

    def keep_documents(self, located: Located) -> None:
        """Put the root and the chosen manifest into the content store."""
        for fetched in (located.chosen, located.root):
            self._store.content.put(fetched.content)

    def pull(self, located: Located) -> None:
        """Fetch the chosen image whole: config, layers, then the documents."""
        manifest = image_manifest(located.chosen)
        self.fetch_blobs(located, (manifest.config, *manifest.layers))
        self.config(located)
        self.keep_documents(located)

    def pull_all(self, located: Located) -> None:
        """Fetch everything below the root, of whatever kind; children come before parents."""
        documents = self.documents(located)
        blobs = [
            blob
            for fetched in documents
            if isinstance(fetched.document, Manifest)
            for blob in (fetched.document.config, *fetched.document.layers)
        ]
        self.fetch_blobs(located, blobs)
        for fetched in reversed(documents):
            self._store.content.put(fetched.content)

    def documents(self, located: Located) -> list[Fetched]:
        """Fetch all documents below the root; parents come before children."""
        return self._tree(located.repositories, located.root)

    def downloader(self, located: Located) -> Downloader:
        """Make what fetches this image's blobs."""
        return Downloader(self._store, located.repositories, self._token, self._report)

    def fetch_blobs(self, located: Located, blobs: Sequence[Descriptor]) -> None:
        """Fetch blobs over a few connections, large ones first; the first real error counts."""
        downloader = self.downloader(located)
        wanted = {blob.digest: blob for blob in blobs}
        ordered = sorted(wanted.values(), key=lambda blob: -blob.size_bytes)
        with Pool(CONNECTIONS) as pool:
            tasks = [pool.submit(downloader.fetch, blob) for blob in ordered]
            raise_first([outcome(task) for task in tasks])

    def _root(self, repository: Repository, named: str, known: Descriptor | None) -> Fetched:
        """Fetch the root document, unless what was known of it is so still."""
        here = None if self._reference.digest is None else self._kept(self._reference.digest)
        if here is not None:
            return here
        if known is not None and self._reference.digest is None:
            head = repository.head(named)
            kept = None if head is None or head.digest != known.digest else self._kept(head.digest)
            if kept is not None:
                return kept
        return repository.manifest(named)

    def _document(self, repositories: Sequence[Repository], entry: Descriptor) -> Fetched:
        kept = self._kept(entry.digest)
        if kept is not None and kept.descriptor[:3] == entry[:3]:
            return kept
        errors: list[BuilderError] = []
        for repository in repositories:
            try:
                return repository.manifest(entry.digest, entry)
            except BuilderError as error:
                errors.append(error)
        raise errors[0]

    def _kept(self, digest: str) -> Fetched | None:
        """Read a document that is in the store."""
        from builder.oci.digest import parse_digest

        parsed = parse_digest(digest)
        if not self._store.content.has(parsed):
            return None
        content = self._store.content.read(parsed, limit=MAX_MANIFEST_BYTES)
        document = parse_manifest_or_index(content)
        return Fetched(Descriptor(document.media_type, parsed, len(content)), content, document)

    def _tree(self, repositories: Sequence[Repository], root: Fetched) -> list[Fetched]:
        """Fetch all documents below a root; parents first."""
        found: list[Fetched] = []
        level = [root]
        seen = {root.descriptor.digest}
        for _ in range(_MAX_DEPTH):
            found += level
            entries = [
                entry
                for fetched in level
                if isinstance(fetched.document, Index)
                for entry in fetched.document.manifests
                if entry.digest not in seen
            ]
            seen.update(entry.digest for entry in entries)
            unique = {entry.digest: entry for entry in entries}
            level = [self._document(repositories, entry) for entry in unique.values()]
            if not level:
                return found
        raise InvalidImage("the indexes are nested too deeply")


def is_image(manifest: Manifest) -> bool:
    """Whether a manifest is that of an image, not of an artefact of another kind."""
    layers_are = all(media.is_layer(layer.media_type) for layer in manifest.layers)
    return manifest.config.media_type in CONFIGS and layers_are


def image_manifest(fetched: Fetched) -> Manifest:
    """Give the manifest of an image; InvalidImage if it is an artefact of another kind."""
    if isinstance(fetched.document, Index):
        raise InvalidImage("an image index stands where a manifest is needed")
    manifest = fetched.document
    if not is_image(manifest):
        kind = manifest.artifact_type or manifest.config.media_type
        raise InvalidImage(
            f"{fetched.descriptor.digest} is an artefact of type {kind!r}, not an image",
            fix="copy takes artefacts of any type: builder copy docker://NAME oci:DIRECTORY",
        )
    return manifest


def chosen_entry(index: Index, platform: Platform, name: str) -> Descriptor:
    """Choose an index's entry for a platform; NotInRegistry lists what there is."""
    position = best_match(platform, [entry.platform for entry in index.manifests])
    if position is not None:
        return index.manifests[position]
    offered = sorted({
        str(normalized(entry.platform))
        for entry in index.manifests
        if entry.platform is not None and entry.platform.os != "unknown"
    })  # fmt: skip
    listed = ", ".join(offered[:20]) or "none"
    raise NotInRegistry(
        f"no matching manifest: {name} has no variant for {platform}, it has: {listed}",
        fix="choose one of these with --platform",
    )


def outcome(task: Task) -> BaseException | None:
    """Wait for a task; give what it raised."""
    try:
        task.result()
    except BaseException as error:  # noqa: BLE001 - sorted out by raise_first
        return error
    return None


def raise_first(errors: Sequence[BaseException | None]) -> None:
    """Raise the failure that others were stopped for, if there was any."""
    failed = [error for error in errors if error is not None]
    for error in failed:
        if not isinstance(error, Cancelled):
            raise error
    if failed:
        raise failed[0]
