"""`system prune`: all that nobody uses, of every kind, in the order in which uses end."""

from collections.abc import Mapping, Sequence

from builder.containers.lifecycle import remove_container
from builder.containers.listing import moment_of, prunable
from builder.containers.model import parse_time
from builder.containers.records import Record
from builder.containers.service import Containers
from builder.engine.catalog import has_labels
from builder.engine.reclaim import (
    CachePrune,
    ImagePrune,
    check_filters,
    foreseen,
    prune_cache,
    prune_images,
)
from builder.errors import BuilderError
from builder.networks.model import PREDEFINED
from builder.networks.registry import Networks
from builder.oci.platform import Platform
from builder.store.gc import Item, Pruned
from builder.store.snapshots import CONTAINER
from builder.store.store import Store
from builder.values import NamedTuple
from builder.volumes.registry import Volumes

SYSTEM_FILTERS = ("label", "label!", "until")
Filters = Mapping[str, Sequence[str]]


class Tidied(NamedTuple):
    """What went: names or IDs by kind, images and cache as they are collected."""

    containers: tuple[str, ...]
    networks: tuple[str, ...]
    volumes: tuple[str, ...]
    images: Pruned
    cache: tuple[Item, ...]
    freed_bytes: int


def tidy(
    containers: Containers,
    store: Store,
    platform: Platform,
    filters: Filters,
    *,
    cache: CachePrune,
    with_named_images: bool = False,
    with_volumes: bool = False,
    is_dry_run: bool = False,
) -> Tidied:
    """Remove stopped containers, then what only they used; `cache` holds `until` as an age.

    A dry run removes nothing and tells what would go: also what stopped containers hold until then.
    """
    check_filters(filters, SYSTEM_FILTERS)
    act = not is_dry_run
    removed, container_bytes = _containers(containers, filters, act=act)
    left = [one for one in containers.place.records.all() if one.container.id not in removed]
    networks = _networks(left, store, filters, act=act)
    volumes, volume_bytes = _volumes(left, store, filters, act=act) if with_volumes else ((), 0)
    labels = tuple(filters.get("label", ()))
    wanted = ImagePrune(with_named_images, cache.until_s, labels, tuple(filters.get("label!", ())))
    images, steps = (
        _pruned(store, platform, wanted, cache)
        if act
        else _foreseen(store, platform, wanted, cache, removed)
    )
    freed = container_bytes + volume_bytes + images.freed_bytes + steps.freed_bytes
    return Tidied(removed, networks, volumes, images, steps.items, freed)


def _pruned(
    store: Store, platform: Platform, images: ImagePrune, cache: CachePrune
) -> tuple[Pruned, Pruned]:
    """Prune images and cache."""
    done = prune_images(store, platform, images)
    return done, Pruned((), 0) if images.labels else prune_cache(store, cache)


def _foreseen(
    store: Store,
    platform: Platform,
    images: ImagePrune,
    cache: CachePrune,
    containers: Sequence[str],
) -> tuple[Pruned, Pruned]:
    """Tell what would go of images and cache once some containers are gone."""
    gone = {f"{CONTAINER}{name}" for name in containers}
    both = foreseen(store, platform, images, cache, gone)
    parts = [
        [item for item in both.items if (item.kind == "image") is is_image]
        for is_image in (True, False)
    ]
    first, second = (Pruned(tuple(p), sum(item.size_bytes for item in p)) for p in parts)
    return first, second


def _containers(
    containers: Containers, filters: Filters, *, act: bool
) -> tuple[tuple[str, ...], int]:
    removed, freed = [], 0
    given = {key: tuple(values) for key, values in filters.items()}
    for record in prunable(containers.place, given):
        own, _total = containers.sizes(record.container)
        try:
            if act:
                remove_container(containers.place, record, is_forced=False, with_volumes=False)
        except BuilderError:
            continue  # it was started, or removed, just now
        removed.append(record.container.id)
        freed += own
    return tuple(removed), freed


def _networks(
    records: Sequence[Record], store: Store, filters: Filters, *, act: bool
) -> tuple[str, ...]:
    """Remove networks that no container, running or not, belongs to."""
    used = {name for record in records for name in record.container.networks}
    networks = Networks(store.root)
    removed = []
    for network in networks.known():
        if network.name in PREDEFINED or {network.name, network.id} & used:
            continue
        if not _passes(network.labels, network.created, filters):
            continue
        try:
            if act:
                networks.remove(network)
        except BuilderError:
            continue  # a container joined it just now
        removed.append(network.name)
    return tuple(removed)


def _volumes(
    records: Sequence[Record], store: Store, filters: Filters, *, act: bool
) -> tuple[tuple[str, ...], int]:
    """Remove volumes without a name of their own that no container mounts."""
    used = {mount.name for record in records for mount in record.container.mounts}
    volumes = Volumes(store.root)
    removed, freed = [], 0
    for volume in volumes.known():
        if volume.name in used or not volume.is_anonymous:
            continue
        if not _passes(volume.labels, volume.created, filters):
            continue
        freed += volumes.size_bytes(volume.name)
        if act:
            volumes.remove(volume.name)
        removed.append(volume.name)
    return tuple(removed), freed


def _passes(labels: Sequence[tuple[str, str]], created: str, filters: Filters) -> bool:
    present = dict(labels)
    forbidden = filters.get("label!", ())
    return (
        has_labels(present, filters.get("label", ()))
        and not any(has_labels(present, (label,)) for label in forbidden)
        and all(parse_time(created) < moment_of(text) for text in filters.get("until", ()))
    )
