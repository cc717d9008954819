"""Disk space: what takes it, and giving back what nobody needs."""

from collections.abc import Collection, Mapping, Sequence

from builder.engine.catalog import has_labels, shown_manifest
from builder.errors import UsageError
from builder.oci.platform import Platform
from builder.store.gc import Pruned, Scope, prune
from builder.store.images import StoredImage
from builder.store.marking import Policy
from builder.store.store import Store
from builder.text import nearest
from builder.values import NamedTuple

__all__ = ["CachePrune", "ImagePrune", "Pruned", "check_filters", "prune_cache", "prune_images"]

IMAGE_FILTERS = ("dangling", "label", "label!", "until")
CACHE_FILTERS = ("id", "type", "until")


class ImagePrune(NamedTuple):
    """Which images may go: unused ones with or without names, by age and labels."""

    has_names_too: bool = False
    until_s: int | None = None
    labels: tuple[str, ...] = ()
    forbidden_labels: tuple[str, ...] = ()


class CachePrune(NamedTuple):
    """Which cache may go, and how much of it must stay."""

    until_s: int | None = None
    ids: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """`exec.cachemount` or `regular`; none means both."""
    reserved_bytes: int = 0
    max_used_bytes: int | None = None
    min_free_bytes: int | None = None


def check_filters(given: Mapping[str, Sequence[str]], known: Sequence[str]) -> None:
    """Raise UsageError for a filter that does not exist."""
    for key in given:
        if key not in known:
            guess = nearest(key, known)
            raise UsageError(
                f"{key!r} is not a filter here",
                fix=f"did you mean {guess}?" if guess else f"known: {', '.join(known)}",
            )


def prune_images(store: Store, platform: Platform, wanted: ImagePrune) -> Pruned:
    """Remove images that no container uses, and what only they needed."""
    return prune(store, _image_scope(store, platform, wanted))


def foreseen(
    store: Store,
    platform: Platform,
    images: ImagePrune,
    cache: CachePrune,
    gone: Collection[str] = (),
) -> Pruned:
    """Tell what pruning images and then the cache would remove; labels leave the cache alone.

    What the owners `gone` need counts as if they had been removed before.
    """
    scope = _image_scope(store, platform, images)
    if not images.labels:
        scope = scope._replace(cache=True, cache_mounts=True)
    return prune(store, scope, _policy(cache), is_dry_run=True, gone=gone)


def prune_cache(store: Store, wanted: CachePrune, *, is_dry_run: bool = False) -> Pruned:
    """Remove cached steps and cache mounts, as far as the policy asks; raise UsageError."""
    unknown = set(wanted.kinds) - {"exec.cachemount", "regular"}
    if unknown:
        raise UsageError(
            f"type={unknown.pop()} is not a type of cache", fix="use regular or exec.cachemount"
        )
    scope = Scope(
        cache="regular" in wanted.kinds or not wanted.kinds,
        cache_mounts="exec.cachemount" in wanted.kinds or not wanted.kinds,
        ids=wanted.ids,
        until_s=wanted.until_s,
    )
    return prune(store, scope, _policy(wanted), is_dry_run=is_dry_run)


def _policy(wanted: CachePrune) -> Policy:
    return Policy(wanted.reserved_bytes, wanted.max_used_bytes, wanted.min_free_bytes)


def _image_scope(store: Store, platform: Platform, wanted: ImagePrune) -> Scope:
    def is_chosen(image: StoredImage) -> bool:
        if not wanted.labels and not wanted.forbidden_labels:
            return True
        manifest = shown_manifest(store, image, platform)
        labels = dict(store.images.config(manifest).config.labels)
        return has_labels(labels, wanted.labels) and not (
            wanted.forbidden_labels and has_labels(labels, wanted.forbidden_labels)
        )

    return Scope(
        cache=False,
        cache_mounts=False,
        dangling_images=True,
        unused_images=wanted.has_names_too,
        until_s=wanted.until_s,
        is_chosen=is_chosen,
    )
