"""`builder ps`: the containers of the store."""

import time
from typing import TYPE_CHECKING

from builder.cli.options import Arguments, Command, flag, multiple, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.containers.records import Record

_COMMAND_WIDTH = 20

COMMAND = Command(
    name="ps",
    summary="List containers.",
    options=(
        flag("-a", "--all", help="also those that do not run"),
        multiple("-f", "--filter", "KEY=VALUE", help="status, name, label, ancestor, …"),
        value("--format", "FORMAT", help="`json`, `table TEMPLATE`, or a Go template"),
        value("-n", "--last", "NUMBER", help="the last ones made, in whatever state"),
        flag("-l", "--latest", help="the last one made, in whatever state"),
        flag("--no-trunc", help="show everything in full"),
        flag("-q", "--quiet", help="show IDs only"),
        flag("-s", "--size", help="show sizes"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print one line for each container, the newest first."""
    from builder.cli.tables import Column, show
    from builder.cli.values import filters, integer
    from builder.containers.listing import listed

    last = 1 if arguments.flag("latest") else integer(arguments.value("last") or "-1", "--last")
    wanted = filters(arguments.values("filter"))
    has_size = arguments.flag("size")
    with session.engine() as engine:
        containers = engine.containers
        containers.sweep()
        found = listed(containers.place, wanted, is_all=arguments.flag("all") or last >= 0)
        if last >= 0:
            found = found[:last]
        is_short = not arguments.flag("no-trunc")
        rows = [row_of(record, is_short=is_short) for record in found]
        if has_size:
            for row, record in zip(rows, found, strict=True):
                row["Size"] = _size(*containers.sizes(record.container))
        if (arguments.value("format") or "json") != "json":
            for row, record in zip(rows, found, strict=True):
                row["Label"] = _label(dict(record.container.config.labels))
    columns = [
        Column("CONTAINER ID", "ID"),
        Column("IMAGE", "Image"),
        Column("COMMAND", "Command"),
        Column("CREATED", "RunningFor"),
        Column("STATUS", "Status"),
        Column("PORTS", "Ports"),
        Column("NAMES", "Names"),
    ]
    if has_size:
        columns.append(Column("SIZE", "Size"))
    show(
        session,
        rows,
        columns,
        format=arguments.value("format"),
        is_quiet=arguments.flag("quiet"),
    )
    return 0


def row_of(record: "Record", *, is_short: bool) -> dict[str, object]:
    """Give a container's row, in Docker's words."""
    from builder.cli.tables import human_age
    from builder.containers.listing import command_text, ports_text, status_text
    from builder.containers.model import parse_time

    container, state = record
    created_s = parse_time(container.created)
    command = command_text(container)
    if is_short and len(command) > _COMMAND_WIDTH:
        command = f"{command[: _COMMAND_WIDTH - 1]}…"
    mounts = [point.name or point.source for point in container.mounts if point.type != "tmpfs"]
    return {
        "ID": container.short_id if is_short else container.id,
        "Image": container.image,
        "Command": f'"{command}"',
        "CreatedAt": time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(created_s)),
        "RunningFor": f"{human_age(max(0.0, time.time() - created_s))} ago",
        "Status": status_text(state, human_age),
        "State": state.status,
        "Ports": ports_text(container, state),
        "Names": container.name,
        "Labels": ",".join(f"{k}={v}" for k, v in sorted(container.config.labels)),
        "Mounts": ",".join(mounts),
        "LocalVolumes": str(sum(point.type == "volume" for point in container.mounts)),
        "Networks": ",".join(container.networks or ("bridge",)),
        "Size": "0B",
    }


def _label(labels: dict[str, str]) -> "Callable[[str], str]":
    """Give what `.Label "key"` calls in a template."""
    return lambda key: labels.get(key, "")


def _size(own: int, total: int) -> str:
    from builder.cli.tables import human_size

    return f"{human_size(own)} (virtual {human_size(total)})"
