"""`update`: other limits for a container, at once if it runs."""

from collections.abc import Mapping

from builder.containers.creation import Workplace
from builder.containers.lifecycle import group_of
from builder.containers.records import Record
from builder.containers.request import RestartRequest
from builder.containers.spec import limits_of
from builder.errors import Conflict


def update(
    place: Workplace,
    record: Record,
    changes: Mapping[str, object],
    restart: RestartRequest | None,
) -> None:
    """Change fields of a container's Resources; raise Denied if a limit cannot be kept."""
    container, state = record
    resources = container.request.resources._replace(**changes)  # type: ignore[arg-type]
    request = container.request._replace(resources=resources)
    if restart is not None:
        request = request._replace(restart=restart)
    with place.records.locked(container.id):
        if state.is_alive:
            group = group_of(container, state)
            if group is None:
                raise Conflict(f"container {container.name} has no control group to change")
            group.update(limits_of(resources))
        place.records.save(container._replace(request=request))
    place.journal.container("update", container)
