"""Making a container: its image, name, mounts and writable layer, or nothing of it."""

import os
from collections.abc import Callable
from contextlib import ExitStack

from builder.containers.assembly import (
    Base,
    Fresh,
    argv_of,
    check_hostname,
    composed,
    effective_config,
)
from builder.containers.journal import Journal
from builder.containers.model import Container, MountPoint, new_id
from builder.containers.mounts import resolve
from builder.containers.network import check_networks
from builder.containers.records import Records
from builder.containers.request import ContainerRequest
from builder.containers.spec import refuse_unsupported
from builder.errors import Conflict, KernelError
from builder.networks.registry import Networks
from builder.oci.config import RunConfig
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.store.store import Store
from builder.values import NamedTuple
from builder.volumes.registry import Volumes


class ImageFound(NamedTuple):
    """The image of a new container, unpacked."""

    base: Base
    config: RunConfig
    platform: Platform


class Workplace(NamedTuple):
    """What containers are made with: the parts of one store."""

    store: Store
    records: Records
    volumes: Volumes
    networks: Networks
    journal: Journal


def workplace(store: Store) -> Workplace:
    """Gather the parts of a store; nothing is opened."""
    root = store.root
    return Workplace(store, Records(root), Volumes(root), Networks(root), Journal(root))


def owner_of(container_id: str) -> str:
    """Name a container as the owner of snapshots and pins."""
    return f"container:{container_id}"


def create(
    place: Workplace,
    request: ContainerRequest,
    find_image: Callable[[ContainerRequest], ImageFound],
    *,
    is_detached: bool = False,
) -> Container:
    """Make a container; after an error nothing of it is left but a pulled image."""
    refuse_unsupported(request)
    networks = check_networks(request.networks, place.networks)
    if request.hostname:
        check_hostname(request.hostname)
    _check_cidfile(request.cidfile)
    image = find_image(request)
    config = effective_config(image.config, request)
    argv_of(config)
    if not request.is_removed:
        _make_durable(place.store, image.base.snapshot)
    container_id = new_id()
    with ExitStack() as undo:
        place.records.prepare(container_id)
        undo.callback(place.store.discard, place.records.path(container_id))
        name = place.records.claim(request.name, container_id)
        undo.callback(place.records.forget_name, name, container_id)
        mounts = resolve(request, config, place.volumes, lambda n: place.records.get(n).container)
        undo.callback(_remove_anonymous, place, mounts)
        container = composed(
            request, image.base, Fresh(container_id, name, config, mounts, networks)
        )._replace(is_stdin_once=not is_detached)
        place.store.pins.add(owner_of(container_id), images=(Digest(image.base.manifest),))
        place.store.snapshots.prepare(image.base.snapshot, owner=owner_of(container_id))
        place.records.create(container)
        _write_cidfile(request.cidfile, container_id)
        undo.pop_all()
    place.journal.container("create", container)
    return container


def remove(place: Workplace, container: Container, *, with_volumes: bool = False) -> None:
    """Remove a container that does not run: its layer, its record, and anonymous volumes."""
    active = place.store.snapshots.active(owner_of(container.id))
    if active is not None:
        place.store.snapshots.discard(active)
    place.records.remove(container)
    place.store.pins.drop(owner_of(container.id))
    if with_volumes:
        _remove_anonymous(place, container.mounts)
    place.journal.container("destroy", container)


def volume_users(place: Workplace, name: str) -> list[Container]:
    """List the containers, running or not, that mount a volume."""
    return [
        record.container
        for record in place.records.all()
        if any(point.name == name for point in record.container.mounts if point.name)
    ]


def _remove_anonymous(place: Workplace, mounts: tuple[MountPoint, ...]) -> None:
    for point in mounts:
        if point.is_anonymous and not volume_users(place, point.name):
            place.volumes.remove(point.name)


def _make_durable(store: Store, snapshot_id: int | None) -> None:
    """Let the image's files survive a power cut before a container that is to last needs them."""
    snapshot = None if snapshot_id is None else store.snapshots.find(snapshot_id)
    if snapshot is not None:
        store.snapshots.ensure_synced(snapshot)


def _check_cidfile(path: str) -> None:
    if path and os.path.lexists(path):
        raise Conflict(
            f"container ID file {path} exists", fix="remove it, or choose another --cidfile"
        )


def _write_cidfile(path: str, container_id: str) -> None:
    if not path:
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, container_id.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
