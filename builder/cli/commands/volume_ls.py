"""`builder volume ls`: the volumes of the store."""

from builder.cli.options import Arguments, Command, flag, multiple, value
from builder.cli.session import Session

COMMAND = Command(
    name="volume ls",
    summary="List volumes.",
    options=(
        multiple("-f", "--filter", "KEY=VALUE", help="name, driver, label, dangling"),
        value("--format", "FORMAT", help="`json`, `table TEMPLATE`, or a Go template"),
        flag("-q", "--quiet", help="show names only"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print one line for each."""
    from builder.cli.tables import Column, show
    from builder.cli.values import filters
    from builder.containers.storage import listed

    with session.engine() as engine:
        place = engine.containers.place
        rows = [
            {
                "Name": volume.name,
                "Driver": volume.driver,
                "Scope": "local",
                "Mountpoint": place.volumes.mount_point(volume.name),
                "Labels": ",".join(f"{key}={label}" for key, label in volume.labels),
                "Links": "N/A",
                "Size": "N/A",
            }
            for volume in listed(place, filters(arguments.values("filter")))
        ]
    show(
        session,
        rows,
        (Column("DRIVER", "Driver"), Column("VOLUME NAME", "Name")),
        format=arguments.value("format"),
        is_quiet=arguments.flag("quiet"),
        quiet_key="Name",
    )
    return 0
