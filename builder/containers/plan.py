"""What a start needs of the store, looked up before a monitor takes over."""

from collections.abc import Callable

from builder.containers import identity
from builder.containers.creation import ImageFound, Workplace, owner_of
from builder.containers.model import Container
from builder.containers.runtime import Plan
from builder.errors import BuilderError, StartError, StoreError
from builder.kernel.namespaces import Privileges


def plan_of(
    place: Workplace,
    container: Container,
    privileges: Privileges,
    find_image: Callable[[str], ImageFound],
) -> Plan:
    """Look everything up; raises StartError (125) for an unknown user or a bad mount.

    `find_image` unpacks an image by name, for mounts of type image.
    """
    active = place.store.snapshots.active(owner_of(container.id))
    if active is None:
        raise StoreError(
            f"the files of container {container.name} are gone", fix="remove it and make a new one"
        )
    who = identity.resolve(
        active, place.store.snapshots.mounted, container.config.user, container.request.groups
    )
    _fill_volumes(place, container)
    images = _image_mounts(place, container, find_image)
    return Plan(container, active, who, privileges, place.store.root, images)


def _fill_volumes(place: Workplace, container: Container) -> None:
    """Give an empty volume what the image has at its place."""
    wanted = [
        point
        for point in container.mounts
        if point.type == "volume"
        and not any(option == "nocopy" or option.startswith("subpath=") for option in point.options)
        and place.volumes.is_empty(point.name)
    ]
    if not wanted:
        return
    from builder.containers.copyup import copy_up

    active = place.store.snapshots.active(owner_of(container.id))
    if active is None:
        return
    with place.store.snapshots.mounted(active) as root_fd:
        for point in wanted:
            try:
                copy_up(root_fd, point.target, point.source)
            except BuilderError as error:
                raise StartError(
                    f"the volume {point.name} cannot be filled from {point.target}: {error.what}"
                ) from None


def _image_mounts(
    place: Workplace, container: Container, find_image: Callable[[str], ImageFound]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for point in container.mounts:
        if point.type == "image":
            image = find_image(point.source)
            snapshots = place.store.snapshots
            number = image.base.snapshot
            snapshot = None if number is None else snapshots.get(number)
            found.append((point.target, snapshots.lowers(snapshot)))
    return tuple(found)
