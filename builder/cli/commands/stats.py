"""`builder stats`: what containers use, as it changes."""

import time
from typing import TYPE_CHECKING

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.containers.usage import Row

_INTERVAL_S = 0.5
_CLEAR = b"\x1b[H\x1b[J"

COMMAND = Command(
    name="stats",
    summary="Show what containers use.",
    options=(
        flag("-a", "--all", help="also those that do not run"),
        value("--format", "FORMAT", help="`json`, `table TEMPLATE`, or a Go template"),
        flag("--no-stream", help="show it once"),
        flag("--no-trunc", help="show IDs in full"),
    ),
    arguments=(Argument("CONTAINER", minimum=0, maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print a table, again and again unless told otherwise."""
    from builder.containers.usage import measured

    is_once = arguments.flag("no-stream")
    with session.engine() as engine:
        place = engine.containers.place
        names = [engine.containers.record(name).container.id for name in arguments.words]
        while True:
            rows = measured(place, names, is_all=arguments.flag("all"), interval_s=_INTERVAL_S)
            if not is_once and session.is_stdout_tty:
                session.write(_CLEAR)
            _show(arguments, session, rows)
            if is_once:
                return 0
            session.token.check()
            time.sleep(_INTERVAL_S)


def _show(arguments: Arguments, session: Session, rows: "list[Row]") -> None:
    from builder.cli.tables import Column, human_size, show

    length = None if arguments.flag("no-trunc") else 12
    shown = [
        {
            "ID": row.id[:length],
            "Container": row.id[:length],
            "Name": row.name,
            "CPUPerc": f"{row.cpu_percent:.2f}%",
            "MemUsage": f"{_binary(row.memory_bytes)} / {_binary(row.memory_limit_bytes)}",
            "MemPerc": f"{100 * row.memory_bytes / max(1, row.memory_limit_bytes):.2f}%",
            "NetIO": f"{human_size(row.received_bytes)} / {human_size(row.sent_bytes)}",
            "BlockIO": f"{human_size(row.read_bytes)} / {human_size(row.written_bytes)}",
            "PIDs": str(row.pids),
        }
        for row in rows
    ]
    show(
        session,
        shown,
        (
            Column("CONTAINER ID", "ID"),
            Column("NAME", "Name"),
            Column("CPU %", "CPUPerc"),
            Column("MEM USAGE / LIMIT", "MemUsage"),
            Column("MEM %", "MemPerc"),
            Column("NET I/O", "NetIO"),
            Column("BLOCK I/O", "BlockIO"),
            Column("PIDS", "PIDs"),
        ),
        format=arguments.value("format"),
    )


def _binary(size_bytes: float) -> str:
    """Write a size in powers of 1024 with four digits, `1.27MiB`, as docker does."""
    units = ("B", "KiB", "MiB", "GiB", "TiB")
    unit = 0
    while size_bytes >= 1024 and unit < len(units) - 1:  # noqa: PLR2004 - powers of 1024
        size_bytes /= 1024
        unit += 1
    return f"{size_bytes:.4g}{units[unit]}"
