"""Which mounts a container has: what was asked for, other containers' volumes, the image's own.

A later source never displaces an earlier one: an explicit mount beats --volumes-from, which beats
a VOLUME of the image.
"""

import os
from collections.abc import Callable, Iterable
from typing import Literal, cast

from builder.containers.model import Container, MountPoint, now
from builder.containers.request import ContainerRequest, MountRequest
from builder.errors import KernelError, UsageError
from builder.oci.config import RunConfig
from builder.volumes.registry import Volume, Volumes

_NO_COPY = "nocopy"


def resolve(
    request: ContainerRequest,
    config: RunConfig,
    volumes: Volumes,
    find: Callable[[str], Container],
) -> tuple[MountPoint, ...]:
    """Decide all mounts, making volumes and missing bind sources; parents come before children.

    `find` looks a container up by its name, for --volumes-from.
    """
    found: dict[str, MountPoint] = {}
    for mount in request.mounts:
        point = _point(mount, volumes)
        found[point.target] = point
    for text in request.volumes_from:
        for point in _from_container(text, find):
            found.setdefault(point.target, point)
    for path in config.volumes:
        target = os.path.normpath(f"/{path}")
        if target not in found and target != "/":
            found[target] = _volume(MountRequest("volume", target), volumes)
    return tuple(sorted(found.values(), key=lambda point: point.target.count("/")))


def _point(mount: MountRequest, volumes: Volumes) -> MountPoint:
    target = os.path.normpath(mount.target)
    if mount.type == "volume":
        return _volume(mount._replace(target=target), volumes)
    if mount.type == "bind":
        _check_source(mount)
    elif mount.type not in {"tmpfs", "image"}:
        raise UsageError(f"there is no mount type {mount.type!r}")
    kind = cast("Literal['bind', 'tmpfs', 'image']", mount.type)
    return MountPoint(
        kind,
        target,
        mount.source,
        is_read_only=mount.is_read_only,
        options=mount.options,
    )


def _volume(mount: MountRequest, volumes: Volumes) -> MountPoint:
    volume = volumes.create(Volume(mount.source, now()))
    return MountPoint(
        "volume",
        mount.target,
        volumes.mount_point(volume.name),
        volume.name,
        is_read_only=mount.is_read_only,
        options=mount.options,
        is_anonymous=not mount.source,
    )


def _check_source(mount: MountRequest) -> None:
    if os.path.lexists(mount.source):
        return
    if not mount.is_source_created:
        raise UsageError(
            f"invalid mount: bind source path does not exist: {mount.source}",
            fix="create the directory, or use -v, which creates it",
        )
    try:
        os.makedirs(mount.source, 0o755)
    except OSError as error:
        raise KernelError("mkdir", error.errno or 0, mount.source) from None


def _from_container(text: str, find: Callable[[str], Container]) -> Iterable[MountPoint]:
    name, _, mode = text.partition(":")
    if mode not in {"", "ro", "rw"}:
        raise UsageError(f"--volumes-from takes CONTAINER[:ro|rw], not {text!r}")
    for point in find(name).mounts:
        if point.type in {"bind", "volume"}:
            is_read_only = point.is_read_only if not mode else mode == "ro"
            yield point._replace(
                is_read_only=is_read_only,
                is_anonymous=False,
                options=tuple({*point.options, _NO_COPY}),
            )
