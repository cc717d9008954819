"""`builder pause`: freeze the processes of containers."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="pause",
    summary="Freeze all processes of containers.",
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Do it to each and print the name it was given by."""
    from builder.containers.lifecycle import pause

    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                pause(engine.containers.place, engine.containers.record(name))
                session.print(name)
    return session.status
