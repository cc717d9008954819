"""Copy images and artefacts between places, byte for byte.

Everything passes through the content store, unnamed, where each blob is verified once; what is
there already is not read again.
"""

import os

from builder.concurrency import CancelToken
from builder.engine.catalog import resolved
from builder.engine.folders import write_folder
from builder.engine.place_files import read_files
from builder.engine.places import Place, parse_place
from builder.engine.pulls import transfer_report
from builder.engine.steps import reported
from builder.errors import InvalidImage
from builder.events import Sink
from builder.exporters.blobs import Blobs
from builder.exporters.image_file import write_images
from builder.exporters.layout import REF_NAME, Root
from builder.oci.descriptor import Descriptor, Index
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.oci.reference import Reference, parse_reference
from builder.registry.client import Registries
from builder.registry.pull import CONFIGS, Source, chosen_entry
from builder.registry.push import Pusher
from builder.store.store import Store
from builder.values import NamedTuple

_STDOUT = 1


class CopyRequest(NamedTuple):
    """What to copy where."""

    source: Place
    destination: Place
    platform: Platform | None = None
    """Of several, the one to copy; None is this machine's."""
    is_whole: bool = False
    """Copy all platforms, and the index itself."""


def copy_request(
    source: str, destination: str, platform: Platform | None, *, is_whole: bool
) -> CopyRequest:
    """Read the places."""
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
    ) -> None:
        """Keep the collaborators."""
        self._store = store
        self._registries = registries
        self._token = token
        self._sink = sink
        self._platform = platform

    def copy(self, request: CopyRequest) -> Digest:
        """Copy; give the digest of what was copied."""
        with reported(self._sink, f"reading {request.source.location}") as step:
            root = self._read(request, step)
        with reported(self._sink, f"writing {request.destination.location}") as step:
            self._write(request.destination, root, step)
        return root.digest

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

    def _write(self, place: Place, root: Descriptor, step: str) -> None:
        match place.transport:
            case "docker":
                self._push(parse_reference(place.location), root, step)
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

    def _push(self, reference: Reference, root: Descriptor, step: str) -> None:
        repository = self._registries.destination(reference)
        report = transfer_report(self._sink, step)
        pusher = Pusher(self._store.content, repository, self._token, report)
        pusher.push(root, [reference.tag] if reference.tag else [])
