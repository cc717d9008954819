"""`builder network ls`: the networks of the store."""

from builder.cli.options import Arguments, Command, flag, multiple, value
from builder.cli.session import Session

_ID_LENGTH = 12

COMMAND = Command(
    name="network ls",
    summary="List networks.",
    options=(
        multiple("-f", "--filter", "KEY=VALUE", help="name, id, driver, label, type, dangling"),
        value("--format", "FORMAT", help="`json`, `table TEMPLATE`, or a Go template"),
        flag("--no-trunc", help="show IDs in full"),
        flag("-q", "--quiet", help="show IDs only"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print one line for each."""
    from builder.cli.tables import Column, show
    from builder.cli.values import filters
    from builder.containers.networking import listed

    length = None if arguments.flag("no-trunc") else _ID_LENGTH
    with session.engine() as engine:
        rows = [
            {
                "ID": network.id[:length],
                "Name": network.name,
                "Driver": network.driver,
                "Scope": "local",
                "IPv6": "false",
                "Internal": str(network.is_internal).lower(),
                "Labels": ",".join(f"{key}={label}" for key, label in network.labels),
                "CreatedAt": network.created,
            }
            for network in listed(engine.containers.place, filters(arguments.values("filter")))
        ]
    show(
        session,
        rows,
        (
            Column("NETWORK ID", "ID"),
            Column("NAME", "Name"),
            Column("DRIVER", "Driver"),
            Column("SCOPE", "Scope"),
        ),
        format=arguments.value("format"),
        is_quiet=arguments.flag("quiet"),
    )
    return 0
