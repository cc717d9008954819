"""`builder cache ls`: the directories that steps keep between builds."""

import time
from typing import TYPE_CHECKING

from builder.cli.options import Arguments, Command, flag, multiple, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.engine.mount_files import CacheMountUsage

COMMAND = Command(
    name="cache ls",
    summary="List the cache mounts of builds.",
    options=(
        value("--format", "FORMAT", help="`json`, `table TEMPLATE`, or a Go template"),
        multiple("--id", "ID", help="only this one"),
        flag("-q", "--quiet", help="print hashes and nothing else"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """List them, the largest first."""
    from builder.cli.tables import Column, show

    with session.engine() as engine:
        mounts = engine.cache_mounts(arguments.values("id"))
    mounts.sort(key=lambda mount: (-mount.size_bytes, mount.id))
    columns = (
        Column("ID", "ID"),
        Column("HASH", "Hash"),
        Column("SIZE", "Size"),
        Column("CREATED", "CreatedSince"),
        Column("LAST USED", "LastUsedSince"),
    )
    show(
        session,
        [row_of(mount) for mount in mounts],
        columns,
        format=arguments.value("format"),
        is_quiet=arguments.flag("quiet"),
        quiet_key="Hash",
    )
    return 0


def row_of(mount: "CacheMountUsage") -> dict[str, object]:
    """Describe a mount in a table."""
    from builder.cli.tables import human_age, human_size

    def ago(moment_s: int) -> str:
        return f"{human_age(max(0, time.time() - moment_s))} ago"

    return {
        "ID": mount.id.partition("\0")[0],
        "Hash": mount.hash[:12],
        "Namespace": mount.namespace,
        "Size": human_size(mount.size_bytes),
        "CreatedSince": ago(mount.created_s),
        "LastUsedSince": ago(mount.last_used_s),
    }
