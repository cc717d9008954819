"""Copy images and artefacts between places: byte for byte, unless another form is asked for.

Everything passes through the content store, unnamed, where each blob is verified once; what is
there already is not read again. Where a destination cannot hold what the source has, it is
converted, and that is told.
"""

import os

from builder.concurrency import CancelToken
from builder.engine.catalog import resolved
from builder.engine.conversion import Conversion, Converter, Format
from builder.engine.folders import MAX_DOCUMENTS, write_folder
from builder.engine.place_files import read_files
from builder.engine.places import Place, parse_place
from builder.engine.pulls import transfer_report
from builder.engine.steps import reported
from builder.errors import InvalidImage, UsageError
from builder.events import Sink, Warned
from builder.exporters.blobs import Blobs
from builder.exporters.image_file import write_images
from builder.exporters.layout import REF_NAME, Root
from builder.oci import media
from builder.oci.descriptor import Descriptor, Index
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.oci.reference import Reference, parse_reference
from builder.registry.client import Registries
from builder.registry.pull import CONFIGS, Source, chosen_entry
from builder.registry.push import ManifestRefused, Pusher
from builder.registry.referrers import referrers
from builder.store.store import Store
from builder.text import visible
from builder.values import NamedTuple

_STDOUT = 1
_DOCUMENTS = media.MANIFESTS | media.INDEXES


class CopyRequest(NamedTuple):
    """What to copy where."""

    source: Place
    destination: Place
    platform: Platform | None = None
    """Of several, the one to copy; None is this machine's."""
    is_whole: bool = False
    """Copy all platforms, and the index itself."""
    conversion: Conversion = Conversion()
    has_referrers: bool = False
    """Copy what refers to the image as well: signatures, SBOMs."""


def copy_request(
    source: str, destination: str, platform: Platform | None, *, is_whole: bool
) -> CopyRequest:
    """Read the places; raise UsageError."""
    if is_whole and platform is not None:
        raise UsageError("--all and --platform exclude each other")
    return CopyRequest(parse_place(source), parse_place(destination), platform, is_whole)


class Copier:
    """Copies by way of one store."""

    def __init__(
        self,
        store: Store,
        registries: Registries,
        token: CancelToken,
        sink: Sink,
        platform: Platform,
        *,
        targets: Registries | None = None,
    ) -> None:
        """Keep the collaborators; `targets` reaches destinations, if not as `registries` would."""
        self._store = store
        self._registries = registries
        self._targets = targets or registries
        self._token = token
        self._sink = sink
        self._platform = platform

    def copy(self, request: CopyRequest) -> Digest:
        """Copy; give the digest of what was written."""
        if request.has_referrers:
            _check_registries(request)
        if _are_registries(request) and request.conversion.is_identity:
            return self._between_registries(request)
        with reported(self._sink, f"reading {request.source.location}") as step:
            root = self._read(request, step)
        wanted = request.conversion
        if request.destination.transport == "docker-archive":
            self._check_single(root)
            wanted = wanted._replace(has_zstd=False)
        root = self._converted(root, wanted)
        with reported(self._sink, f"writing {request.destination.location}") as step:
            return self._write(request.destination, root, wanted, step).digest

    def _between_registries(self, request: CopyRequest) -> Digest:
        """Copy from registry to registry: what the destination has or mounts is not fetched."""
        source = parse_reference(request.source.location)
        target = parse_reference(request.destination.location)
        platform = None if request.is_whole else request.platform or self._platform
        with reported(self._sink, f"copying {source.familiar} to {target.familiar}") as step:
            try:
                root = self._relayed(source, target, platform, step)
            except ManifestRefused as refusal:
                root = self.fetch(request.source.location, platform, step)
                root = self._pushed_otherwise(target, root, request.conversion, step, refusal)
            if request.has_referrers:
                self._copy_referrers(source, target, root, step)
        return root.digest

    def _relayed(
        self, name: Reference, target: Reference, platform: Platform | None, step: str
    ) -> Descriptor:
        """Push what a name stands for while it is fetched, blob by blob."""
        report = transfer_report(self._sink, step)
        source = Source(self._store, self._registries, name, self._token, report)
        located = source.locate(platform)
        located = located._replace(root=located.chosen)
        for fetched in reversed(source.documents(located)):
            self._store.content.put(fetched.content)
        origin, repository = located.repositories[0], self._targets.destination(target)
        is_near = origin.endpoint.host == repository.endpoint.host
        origins = [origin.name] if is_near and origin.name != repository.name else []
        pusher = Pusher(
            self._store.content,
            repository,
            self._token,
            report,
            origins=lambda _digest: origins,
            obtain=source.downloader(located).fetch,
        )
        root = located.root.descriptor
        pusher.push(root, [target.tag] if target.tag else [])
        return root

    def _read(self, request: CopyRequest, step: str) -> Descriptor:
        place, wanted = request.source, request.platform or self._platform
        if place.transport == "docker":
            return self.fetch(place.location, None if request.is_whole else wanted, step)
        if place.transport == "store":
            root = resolved(self._store, place.location).descriptor
        else:
            root = read_files(self._store, place)
        document = self._store.images.document(root)
        if request.is_whole or not isinstance(document, Index):
            return root
        return chosen_entry(document, wanted, place.location)

    def fetch(self, name: str, platform: Platform | None, step: str) -> Descriptor:
        """Bring something from a registry into the content store, whole; None is all platforms."""
        report = transfer_report(self._sink, step)
        source = Source(self._store, self._registries, parse_reference(name), self._token, report)
        located = source.locate(platform)
        source.pull_all(located._replace(root=located.chosen))
        return located.chosen.descriptor

    def _converted(self, root: Descriptor, wanted: Conversion) -> Descriptor:
        converter = Converter(self._store, wanted, self._token)
        if wanted.is_identity or not converter.is_needed(root):
            return root
        with reported(self._sink, "converting"):
            made = converter.converted(root)
        if converter.left_out:
            lost = ", ".join(dict.fromkeys(converter.left_out))
            self._sink(Warned(f"Docker's format has no place for {visible(lost)}: left out"))
        return made

    def _write(self, place: Place, root: Descriptor, wanted: Conversion, step: str) -> Descriptor:
        """Write an image; give the root of what was written."""
        match place.transport:
            case "docker":
                return self._pushed(parse_reference(place.location), root, wanted, step)
            case "store":
                self._check_image(root)
                self._store.images.tag(parse_reference(place.location), root)
            case "dir":
                write_folder(self._store.content, root, place.location)
            case "docker-archive":
                described, manifest = self._store.images.any_manifest(root)
                names = (parse_reference(place.name),) if place.name else ()
                self._write_images(Root(described, names, manifest), place)
            case _:
                annotations = ((REF_NAME, place.name),) if place.name else ()
                self._write_images(Root(root._replace(annotations=annotations)), place)
        return root

    def _check_single(self, root: Descriptor) -> None:
        """Refuse what an archive of Docker's has no place for: artefacts, several platforms."""
        self._check_image(root)
        if root.media_type in media.INDEXES:
            raise UsageError(
                "docker-archive holds one platform", fix="leave out --all, or use oci-archive"
            )

    def _check_image(self, root: Descriptor) -> None:
        """Refuse to name an artefact in the store: whatever lists images reads their configs."""
        _, manifest = self._store.images.any_manifest(root)
        if manifest.config.media_type not in CONFIGS:
            raise InvalidImage(
                f"{root.digest} is an artefact, not an image", fix="copy it to a layout: oci:DIR"
            )

    def _write_images(self, root: Root, place: Place) -> None:
        location = os.path.abspath(place.location) if place.location != "-" else "-"
        blobs = Blobs(self._store.content)
        write_images((root,), blobs, location, _STDOUT, is_archive=place.is_archive)

    def _pushed(
        self, reference: Reference, root: Descriptor, wanted: Conversion, step: str
    ) -> Descriptor:
        """Push; in the other media types if the registry refuses these. Give what was pushed."""
        try:
            self._push(reference, root, step)
        except ManifestRefused as refusal:
            return self._pushed_otherwise(reference, root, wanted, step, refusal)
        return root

    def _pushed_otherwise(
        self,
        reference: Reference,
        root: Descriptor,
        wanted: Conversion,
        step: str,
        refusal: ManifestRefused,
    ) -> Descriptor:
        """Push in the other media types, unless these were asked for."""
        if wanted.is_refused or wanted.format is not None:
            raise refusal
        is_docker = media.to_oci(root.media_type) != root.media_type
        other: Format = "oci" if is_docker else "docker"
        try:
            made = self._converted(root, wanted._replace(format=other, has_zstd=is_docker))
        except InvalidImage:
            raise refusal from None
        self._push(reference, made, step)
        name = "OCI's" if is_docker else "Docker's"
        self._sink(Warned(f"{reference.domain} takes only {name} media types: converted"))
        return made

    def _copy_referrers(
        self, source: Reference, target: Reference, root: Descriptor, step: str
    ) -> None:
        """Copy what refers to an image or any of its parts, and what refers to that."""
        target = target._replace(tag="", digest=None)
        pending = [one for one in self._store.images.closure(root) if one.media_type in _DOCUMENTS]
        seen = {one.digest for one in pending}
        while pending:
            for one in self._referrers(source, pending.pop().digest):
                if one.digest in seen:
                    continue
                seen.add(one.digest)
                if len(seen) > MAX_DOCUMENTS:
                    raise InvalidImage(f"more than {MAX_DOCUMENTS} documents refer to the image")
                self._relayed(source._replace(tag="", digest=one.digest), target, None, step)
                pending.append(one)

    def _referrers(self, source: Reference, subject: Digest) -> tuple[Descriptor, ...]:
        return self._registries.first(source, lambda one: referrers(one, subject))[1]

    def _push(self, reference: Reference, root: Descriptor, step: str) -> None:
        repository = self._targets.destination(reference)
        report = transfer_report(self._sink, step)
        pusher = Pusher(self._store.content, repository, self._token, report)
        pusher.push(root, [reference.tag] if reference.tag else [])


def check_one_registry(request: CopyRequest) -> None:
    """Raise UsageError if there are two, of which only one may see a password."""
    if not _are_registries(request):
        return
    source, target = (
        parse_reference(one.location) for one in (request.source, request.destination)
    )
    if source.domain != target.domain:
        raise UsageError(
            "--creds does not say for which of the two registries it is",
            fix="use --src-creds or --dest-creds",
        )


def _are_registries(request: CopyRequest) -> bool:
    return request.source.transport == request.destination.transport == "docker"


def _check_registries(request: CopyRequest) -> None:
    """Referrers need a registry at both ends, and an unchanged digest to refer to."""
    if not _are_registries(request):
        raise UsageError(
            "--referrers copies from one registry to another",
            fix="write docker://NAME for source and destination",
        )
    if not request.conversion.is_identity:
        raise UsageError(
            "what refers to an image names its digest, which a conversion changes",
            fix="leave out --referrers, or --format and --compression",
        )
