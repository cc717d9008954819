"""What takes disk space: totals by kind, and every image, container, volume and cached step."""

from collections.abc import Sequence

from builder.containers.model import Container, State
from builder.containers.records import Record, Records
from builder.engine.catalog import ImageFilter, list_images
from builder.errors import BuilderError
from builder.oci.platform import Platform
from builder.store.sizes import directory_size
from builder.store.store import Store
from builder.store.usage import CacheEntry, Usage, cache_entries, usage
from builder.values import NamedTuple
from builder.volumes.registry import Volumes
from builder.wire import ImageFacts


class ContainerSpace(NamedTuple):
    """A container and the bytes it wrote."""

    container: Container
    state: State
    size_bytes: int
    volumes: int


class VolumeSpace(NamedTuple):
    """A volume, its bytes, and how many containers mount it."""

    name: str
    size_bytes: int
    links: int


class DiskSpace(NamedTuple):
    """Totals, and what they are made of."""

    totals: tuple[Usage, ...]
    images: tuple[ImageFacts, ...]
    containers: tuple[ContainerSpace, ...]
    volumes: tuple[VolumeSpace, ...]
    cache: tuple[CacheEntry, ...]


def disk_space(store: Store, platform: Platform) -> DiskSpace:
    """Measure everything; walks what was never measured, so it may take long."""
    records = Records(store.root).all()
    containers = tuple(_container_space(store, record) for record in records)
    volumes = tuple(_volume_spaces(store, records))
    totals = tuple(_in_use(total, containers, volumes) for total in usage(store))
    return DiskSpace(
        totals,
        tuple(list_images(store, platform, ImageFilter())),
        containers,
        volumes,
        cache_entries(store),
    )


def _container_space(store: Store, record: Record) -> ContainerSpace:
    container, state = record
    active = store.snapshots.active(f"container:{container.id}")
    size_bytes = 0 if active is None else directory_size(active.upper)
    mounted = sum(mount.type == "volume" for mount in container.mounts)
    return ContainerSpace(container, state, size_bytes, mounted)


def _volume_spaces(store: Store, records: Sequence[Record]) -> list[VolumeSpace]:
    volumes = Volumes(store.root)
    spaces = []
    for volume in volumes.known():
        links = sum(
            any(mount.name == volume.name for mount in record.container.mounts)
            for record in records
        )
        try:
            size_bytes = volumes.size_bytes(volume.name)
        except (OSError, BuilderError):
            continue  # somebody removed it just now
        spaces.append(VolumeSpace(volume.name, size_bytes, links))
    return spaces


def _in_use(
    total: Usage, containers: Sequence[ContainerSpace], volumes: Sequence[VolumeSpace]
) -> Usage:
    """Complete the totals of containers and volumes by what only their records tell."""
    if total.kind == "container":
        idle = [one.size_bytes for one in containers if not one.state.is_alive]
        active = len(containers) - len(idle)
        size_bytes = sum(one.size_bytes for one in containers)
        return Usage("container", len(containers), active, size_bytes, sum(idle))
    if total.kind == "volume":
        unused = [one.size_bytes for one in volumes if not one.links]
        active = len(volumes) - len(unused)
        size_bytes = sum(one.size_bytes for one in volumes)
        return Usage("volume", len(volumes), active, size_bytes, sum(unused))
    return total
