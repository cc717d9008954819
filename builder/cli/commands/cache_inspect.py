"""`builder cache inspect`: all that is known of cache mounts."""

from builder.cli.options import Argument, Arguments, Command, multiple, value
from builder.cli.session import Session

COMMAND = Command(
    name="cache inspect",
    summary="Show all that is known of cache mounts.",
    arguments=(Argument("ID", minimum=0, maximum=None),),
    options=(
        value("--format", "FORMAT", help="a Go template, or json"),
        multiple("--id", "ID", help="the ID of a mount, or how its hash begins"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Show the mounts."""
    from builder.cli.tables import inspect
    from builder.wire import rfc3339

    with session.engine() as engine:
        mounts = engine.cache_mounts((*arguments.words, *arguments.values("id")))
        paths = {mount.hash: engine.store.cache_mounts.path(mount.hash) for mount in mounts}
    found = [
        {
            "Id": mount.id.partition("\0")[0],
            "Hash": mount.hash,
            "Namespace": mount.namespace,
            "Path": paths[mount.hash],
            "Size": mount.size_bytes,
            "Created": rfc3339(mount.created_s),
            "LastUsed": rfc3339(mount.last_used_s),
        }
        for mount in mounts
    ]
    inspect(session, found, format=arguments.value("format"))
    return 0
