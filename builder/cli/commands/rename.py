"""`builder rename`: give a container another name."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="rename",
    summary="Give a container another name.",
    arguments=(Argument("CONTAINER"), Argument("NEW_NAME")),
)


def run(arguments: Arguments, session: Session) -> int:
    """Rename it."""
    from builder.containers.lifecycle import rename

    old, new = arguments.words
    with session.engine() as engine:
        rename(engine.containers.place, engine.containers.record(old), new)
    return 0
