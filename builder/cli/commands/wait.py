"""`builder wait`: wait until containers end."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="wait",
    summary="Wait until containers end, and print their exit statuses.",
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Wait for each in turn and print its status."""
    from builder.containers.lifecycle import wait

    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                record = engine.containers.record(name)
                session.print(str(wait(engine.containers.place, record)))
    return session.status
