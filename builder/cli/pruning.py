"""Filters and reports of the commands that remove what nobody uses."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from builder.cli.options import Arguments, Option, value
from builder.cli.session import Session
from builder.cli.tables import human_size
from builder.errors import UsageError

if TYPE_CHECKING:
    from builder.engine.reclaim import CachePrune, ImagePrune, Pruned

Filters = Mapping[str, tuple[str, ...]]

LIMITS: tuple[Option, ...] = (
    value("--keep-storage", "BYTES", help="keep at least so much cache"),
    value("--max-used", "BYTES", help="remove cache only until no more than this is used"),
    value("--min-free", "BYTES", help="remove cache only until so much of the disk is free"),
    value("--max-used-space", "BYTES", help="docker's name of --max-used", is_hidden=True),
    value("--min-free-space", "BYTES", help="docker's name of --min-free", is_hidden=True),
    value("--reserved-space", "BYTES", help="docker's name of --keep-storage", is_hidden=True),
)
UNTIL = value("--until", "AGE", help="only what is older: 24h, or a time; as --filter until=AGE")


def image_prune(given: Filters, *, is_all: bool) -> "ImagePrune":
    """Read what `image prune` is asked to remove."""
    from builder.engine.reclaim import IMAGE_FILTERS, ImagePrune, check_filters

    check_filters(given, IMAGE_FILTERS)
    has_names_too = is_all or given.get("dangling", ("true",))[-1] in {"false", "0"}
    return ImagePrune(
        has_names_too, until_s(given), given.get("label", ()), given.get("label!", ())
    )


def cache_prune(given: Filters) -> "CachePrune":
    """Read what `builder prune` is asked to remove."""
    from builder.engine.reclaim import CACHE_FILTERS, CachePrune, check_filters

    check_filters(given, CACHE_FILTERS)
    return CachePrune(until_s(given), given.get("id", ()), given.get("type", ()))


def limits(arguments: Arguments) -> "CachePrune":
    """Read how much cache may stay: old names of options count if the new ones are absent."""
    from builder.cli.values import size_bytes
    from builder.engine.reclaim import CachePrune

    def size(*keys: str) -> int | None:
        text = next((text for key in keys if (text := arguments.value(key)) is not None), None)
        return None if text is None else size_bytes(text)

    return CachePrune(
        reserved_bytes=size("reserved-space", "keep-storage") or 0,
        max_used_bytes=size("max-used-space", "max-used"),
        min_free_bytes=size("min-free-space", "min-free"),
    )


def until_s(given: Filters) -> int | None:
    """Read `until`: an age such as 24h, or a time; give an age in seconds.

    Raises UsageError.
    """
    from builder.cli.values import duration_s
    from builder.wire import unix_seconds

    values = given.get("until", ())
    if not values:
        return None
    if len(values) > 1:
        raise UsageError("until is given more than once")
    moment_s = unix_seconds(values[0])
    if moment_s:
        return max(0, int(time.time()) - moment_s)
    if values[0].isdigit():
        return max(0, int(time.time()) - int(values[0]))
    return int(duration_s(values[0]))


def print_images(session: Session, pruned: "Pruned") -> None:
    """List the images that went, in docker's words."""
    images = [item for item in pruned.items if item.kind == "image"]
    if not images:
        return
    session.print("Deleted Images:")
    for item in images:
        for name in item.description.split():
            session.print(f"untagged: {name}")
        session.print(f"deleted: {item.name}")
    session.print("")


def print_total(session: Session, freed_bytes: int) -> None:
    """Say how much was freed."""
    session.print(f"Total reclaimed space: {human_size(freed_bytes)}")
