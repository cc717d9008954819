"""`builder manifest ls`: the lists of manifests that are being put together."""

from builder.cli.options import Arguments, Command, flag, value
from builder.cli.session import Session
from builder.cli.tables import Column, show

COMMAND = Command(
    name="manifest ls",
    summary="List the lists of manifests that were made here and not removed.",
    options=(
        value("--format", "FORMAT", help="json, or a Go template"),
        flag("-q", "--quiet", help="print the names only"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Show each list and the platforms in it."""
    with session.engine() as engine:
        found = engine.store.lists.all()
    rows = [
        {
            "Name": one.reference.familiar,
            "Manifests": len(one.entries),
            "Platforms": ", ".join(str(entry.descriptor.platform) for entry in one.entries),
        }
        for one in found
    ]
    columns = (
        Column("NAME", "Name"), Column("MANIFESTS", "Manifests"), Column("PLATFORMS", "Platforms"),
    )  # fmt: skip
    show(
        session, rows, columns,
        format=arguments.value("format"), is_quiet=arguments.flag("quiet"), quiet_key="Name",
    )  # fmt: skip
    return 0
