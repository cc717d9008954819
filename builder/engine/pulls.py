"""Pull into the image store, push out of it."""

from builder.concurrency import CancelToken
from builder.engine.catalog import resolved
from builder.engine.steps import reported, shown_blob
from builder.errors import NotFound
from builder.events import Progress, Sink
from builder.oci.descriptor import Descriptor, Manifest
from builder.oci.digest import Digest
from builder.oci.platform import Platform, best_match
from builder.oci.reference import Reference, parse_reference
from builder.registry.client import Registries
from builder.registry.download import Report
from builder.registry.pull import Located, Source
from builder.registry.push import Pushed, Pusher
from builder.registry.repository import Repository
from builder.store.store import Store
from builder.values import NamedTuple

MAX_ORIGINS = 3


class Pulled(NamedTuple):
    """An image that is now in the store under a name."""

    reference: Reference
    digest: Digest
    image_id: Digest | None
    is_new: bool


class Transfers:
    """Pulls images into one store, and pushes them out of it."""

    def __init__(
        self, store: Store, registries: Registries, token: CancelToken, sink: Sink
    ) -> None:
        """Keep the collaborators."""
        self._store = store
        self._registries = registries
        self._token = token
        self._sink = sink

    def pull(self, reference: Reference, platform: Platform, *, is_strict: bool) -> Pulled:
        """Pull one platform; `is_strict` refuses an image that is for another one only."""
        with reported(self._sink, f"pulling {reference.familiar}") as step:
            source = self._source(reference, step)
            located = source.locate(platform, self._known(reference))
            source.pull(located)
            if is_strict and located.root.descriptor == located.chosen.descriptor:
                _check_platform(reference, source, located, platform)
            return self._named(reference, located)

    def pull_all(self, reference: Reference, platform: Platform) -> Pulled:
        """Pull all platforms."""
        with reported(self._sink, f"pulling {reference.familiar}") as step:
            source = self._source(reference, step)
            located = source.locate(platform, self._known(reference))
            source.config(located)
            source.pull_all(located)
            return self._named(reference, located)

    def push(self, name: str, platform: Platform | None, to: str) -> Pushed:
        """Push an image under a name: all of its platforms that are here, or the given one."""
        images = self._store.images
        root = resolved(self._store, name).descriptor
        reference = parse_reference(to)
        if platform is not None:
            root = images.manifest(root, platform)[0]
        tags = [reference.tag] if reference.tag else []
        with reported(self._sink, f"pushing {reference.familiar}") as step:
            repository = self._registries.destination(reference)
            origins = _Origins(self._store, repository, reference)
            report = transfer_report(self._sink, step)
            pusher = Pusher(self._store.content, repository, self._token, report, origins.of)
            try:
                return pusher.push(root, tags)
            except NotFound:
                own, _ = images.any_manifest(root)
                if platform is not None or own.digest == root.digest:
                    raise
                return pusher.push(own, tags)  # the other platforms were never pulled

    def _source(self, reference: Reference, step: str) -> Source:
        report = transfer_report(self._sink, step)
        return Source(self._store, self._registries, reference, self._token, report)

    def _known(self, reference: Reference) -> Descriptor | None:
        image = self._store.images.get(reference)
        if image is not None:
            return image.descriptor
        source = self._store.images.source(reference)
        return None if source is None else source[0]

    def _named(self, reference: Reference, located: Located) -> Pulled:
        """Name the image; a reference with a digest names by that alone, as it will never move."""
        if reference.digest is not None:
            reference = reference._replace(tag="")
        before = self._store.images.get(reference)
        descriptor = located.root.descriptor
        self._store.images.tag(reference, descriptor)
        is_new = before is None or before.descriptor.digest != descriptor.digest
        document = located.chosen.document
        image_id = document.config.digest if isinstance(document, Manifest) else None
        return Pulled(reference, descriptor.digest, image_id, is_new)


def transfer_report(sink: Sink, step: str) -> Report:
    """Make what tells a step's listeners how far its transfers are."""
    return lambda item, current, total: sink(Progress(step, shown_blob(item), current, total))


class _Origins:
    """Other repositories of the registry that are likely to have a blob: our images' names."""

    def __init__(self, store: Store, repository: Repository, reference: Reference) -> None:
        self._store = store
        self._own = repository.name
        self._domain = reference.domain
        self._names: dict[Digest, list[str]] | None = None

    def of(self, digest: Digest) -> list[str]:
        """List repositories that may have a blob."""
        if self._names is None:
            self._names = self._found()
        return self._names.get(digest, [])[:MAX_ORIGINS]

    def _found(self) -> dict[Digest, list[str]]:
        found: dict[Digest, list[str]] = {}
        for image in self._store.images.list():
            names = {
                name.repository
                for name in image.names
                if name.domain == self._domain and name.repository != self._own
            }
            if names:
                for part in self._store.images.closure(image.descriptor):
                    found.setdefault(part.digest, []).extend(sorted(names))
        return found


def _check_platform(
    reference: Reference, source: Source, located: Located, platform: Platform
) -> None:
    config = source.config(located)
    if best_match(platform, [config.platform]) is None:
        raise NotFound(
            f"image {reference.familiar} was found, but its platform ({config.platform}) does not"
            f" match the specified platform ({platform})",
            fix=f"give --platform {config.platform}",
        )
