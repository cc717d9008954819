"""`builder top`: the processes of a container."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="top",
    summary="Show the processes of a container.",
    arguments=(Argument("CONTAINER"), Argument("PS_OPTIONS", minimum=0, maximum=None)),
    is_interspersed=False,
)


def run(arguments: Arguments, session: Session) -> int:
    """Print a table of them, with the columns that ps would show."""
    from builder.cli.tables import aligned
    from builder.containers.joining import join_container
    from builder.containers.processes import columns_of, table

    name, *options = arguments.words
    columns = columns_of(options)
    join_container(session.settings.root, name)
    with session.engine() as engine:
        record = engine.containers.record(name)
        rows = table(record, columns)
    session.print("\n".join(aligned([list(columns), *rows])))
    return 0
