"""`builder system df`: what takes disk space."""

import time
from typing import TYPE_CHECKING

from builder.cli.options import Arguments, Command, flag, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.engine.disk import DiskSpace

COMMAND = Command(
    name="system df",
    summary="Show what takes disk space.",
    options=(
        value("--format", "FORMAT", help="`json`, `table TEMPLATE`, or a Go template"),
        flag("-v", "--verbose", help="list every image, container, volume and cached step"),
    ),
)

_KINDS = {
    "image": "Images",
    "container": "Containers",
    "volume": "Local Volumes",
    "cache": "Build Cache",
    "cache-mount": "Cache Mounts",
}
Row = dict[str, object]


def run(arguments: Arguments, session: Session) -> int:
    """Print totals, or everything there is."""
    from builder.cli.tables import Column, show

    with session.engine() as engine:
        space = engine.disk_space()
    if arguments.flag("verbose"):
        _print_all(session, space, arguments.value("format"))
        return 0
    columns = (
        Column("TYPE", "Type"),
        Column("TOTAL", "TotalCount"),
        Column("ACTIVE", "Active"),
        Column("SIZE", "Size"),
        Column("RECLAIMABLE", "Reclaimable"),
    )
    show(session, _totals(space), columns, format=arguments.value("format"))
    return 0


def _totals(space: "DiskSpace") -> list[Row]:
    from builder.cli.tables import human_size

    by_kind = {total.kind: total for total in space.totals}
    rows: list[Row] = []
    for kind, title in _KINDS.items():
        total = by_kind.get(kind)
        if total is None:
            continue
        part = 100 * total.reclaimable_bytes // total.size_bytes if total.size_bytes else None
        reclaimable = human_size(total.reclaimable_bytes)
        rows.append(
            {
                "Type": title,
                "TotalCount": str(total.entries),
                "Active": str(total.active),
                "Size": human_size(total.size_bytes),
                "Reclaimable": reclaimable if part is None else f"{reclaimable} ({part}%)",
            }
        )
    return rows


def _print_all(session: Session, space: "DiskSpace", template: str | None) -> None:
    sections = (
        ("Images", "REPOSITORY TAG IMAGE_ID CREATED SIZE SHARED_SIZE UNIQUE_SIZE CONTAINERS",
         _images(space)),
        ("Containers", "CONTAINER_ID IMAGE COMMAND LOCAL_VOLUMES SIZE CREATED STATUS NAMES",
         _containers(space)),
        ("Volumes", "VOLUME_NAME LINKS SIZE", _volumes(space)),
        ("BuildCache", "CACHE_ID CACHE_TYPE SIZE CREATED LAST_USED HELD_BY DESCRIPTION",
         _cache(space)),
    )  # fmt: skip
    if template:
        from builder.cli.tables import inspect

        inspect(session, [{name: rows for name, _, rows in sections}], format=template)
        return
    from builder.cli.tables import Column, show

    titles = ("Images", "Containers", "Local Volumes", "Build cache")
    for title, (_, headings, rows) in zip(titles, sections, strict=True):
        session.print(f"{title} space usage:\n")
        names = [heading.replace("_", " ") for heading in headings.split()]
        columns = [Column(name, key) for name, key in zip(names, _KEYS[title], strict=True)]
        show(session, rows, columns)
        session.print("")


_KEYS = {
    "Images": (
        "Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers",
    ),
    "Containers": (
        "ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names",
    ),
    "Local Volumes": ("Name", "Links", "Size"),
    "Build cache": ("ID", "CacheType", "Size", "CreatedSince", "LastUsedSince", "HeldBy",
                    "Description"),
}  # fmt: skip


def _images(space: "DiskSpace") -> list[Row]:
    from builder.cli.commands.images import image_rows

    return [row for image in space.images for row in image_rows(image, is_short=True)]


def _containers(space: "DiskSpace") -> list[Row]:
    from builder.cli.commands.ps import row_of
    from builder.cli.tables import human_size
    from builder.containers.records import Record

    return [
        {
            **row_of(Record(one.container, one.state), is_short=True),
            "Size": human_size(one.size_bytes),
            "LocalVolumes": str(one.volumes),
        }
        for one in space.containers
    ]


def _volumes(space: "DiskSpace") -> list[Row]:
    from builder.cli.tables import human_size

    return [
        {"Name": one.name, "Links": str(one.links), "Size": human_size(one.size_bytes)}
        for one in space.volumes
    ]


def _cache(space: "DiskSpace") -> list[Row]:
    from builder.cli.tables import human_size

    return [
        {
            "ID": one.name[:25],
            "CacheType": "exec.cachemount" if one.kind == "cache-mount" else "regular",
            "Size": human_size(one.size_bytes),
            "CreatedSince": _ago(one.created_s),
            "LastUsedSince": _ago(one.last_used_s),
            "Shared": str(one.is_shared).lower(),
            "HeldBy": ", ".join(one.holders),
            "Description": one.description,
        }
        for one in space.cache
    ]


def _ago(moment_s: int) -> str:
    from builder.cli.tables import human_age

    return f"{human_age(max(0, time.time() - moment_s))} ago"
