"""The use cases of volumes: create, remove, list, describe."""

from collections.abc import Callable, Mapping, Sequence

from builder.containers.creation import Workplace, volume_users
from builder.containers.listing import has_label
from builder.containers.model import now
from builder.errors import BuilderError, Conflict, NotFound, UsageError
from builder.volumes.registry import Volume


def create(
    place: Workplace,
    name: str,
    *,
    driver: str = "local",
    labels: tuple[tuple[str, str], ...] = (),
    options: tuple[tuple[str, str], ...] = (),
) -> Volume:
    """Make a volume, or give the one of that name; raise UsageError."""
    if options:
        raise UsageError(
            f"the local driver takes no option {options[0][0]!r}",
            fix="bind a directory that is mounted already",
        )
    volume = place.volumes.create(Volume(name, now(), driver, labels, options))
    place.journal.record("volume", "create", volume.name, {"driver": volume.driver})
    return volume


def remove(place: Workplace, name: str) -> None:
    """Remove a volume that no container has, running or not; raise Conflict."""
    volume = place.volumes.get(name)
    users = volume_users(place, volume.name)
    if users:
        listed_ids = ", ".join(user.id for user in users)
        raise Conflict(
            f"volume {name} is in use by [{listed_ids}]", fix="remove the containers first"
        )
    place.volumes.remove(volume.name)
    place.journal.record("volume", "destroy", volume.name, {"driver": volume.driver})


def listed(place: Workplace, filters: Mapping[str, Sequence[str]]) -> list[Volume]:
    """List the volumes that pass; raise UsageError for an unknown filter."""
    for key in filters:
        if key not in {"name", "driver", "label", "dangling"}:
            raise UsageError(
                f"there is no filter {key!r}", fix="use name, driver, label or dangling"
            )
    used = _used(place)
    return [volume for volume in place.volumes.known() if _passes(volume, filters, used)]


def prune(
    place: Workplace, filters: Mapping[str, Sequence[str]], *, is_all: bool
) -> tuple[list[str], int]:
    """Remove the volumes that no container has, unless all only anonymous ones; names, bytes."""
    used = _used(place)
    removed, freed = [], 0
    for volume in place.volumes.known():
        if volume.name in used or not (is_all or volume.is_anonymous):
            continue
        if not all(has_label(volume.labels, label) for label in filters.get("label", ())):
            continue
        size_bytes = place.volumes.size_bytes(volume.name)
        try:
            remove(place, volume.name)
        except BuilderError:
            continue  # a container came in between
        removed.append(volume.name)
        freed += size_bytes
    return removed, freed


def inspected(place: Workplace, name: str) -> dict[str, object]:
    """Describe a volume as Docker's API does; raise NotFound."""
    try:
        volume = place.volumes.get(name)
    except NotFound:
        raise NotFound(f"no such volume: {name}", fix="see `builder volume ls`") from None
    return {
        "CreatedAt": volume.created,
        "Driver": volume.driver,
        "Labels": dict(volume.labels),
        "Mountpoint": place.volumes.mount_point(volume.name),
        "Name": volume.name,
        "Options": dict(volume.options) or None,
        "Scope": "local",
    }


def _used(place: Workplace) -> set[str]:
    return {
        point.name
        for record in place.records.all()
        for point in record.container.mounts
        if point.name
    }


def _passes(volume: Volume, filters: Mapping[str, Sequence[str]], used: set[str]) -> bool:
    tests: Mapping[str, Callable[[str], bool]] = {
        "name": lambda value: value in volume.name,
        "driver": lambda value: value == volume.driver,
        "label": lambda value: has_label(volume.labels, value),
        "dangling": lambda value: (value in {"1", "true"}) == (volume.name not in used),
    }
    for key, values in filters.items():
        results = [bool(tests[key](value)) for value in values]
        if not (all(results) if key == "label" else any(results)):
            return False
    return True
