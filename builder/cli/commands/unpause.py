"""`builder unpause`: let frozen containers go on."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="unpause",
    summary="Let frozen containers go on.",
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Do it to each and print the name it was given by."""
    from builder.containers.lifecycle import unpause

    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                unpause(engine.containers.place, engine.containers.record(name))
                session.print(name)
    return session.status
