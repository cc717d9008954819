"""`builder kill`: send containers a signal."""

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.session import Session

COMMAND = Command(
    name="kill",
    summary="Send a signal to containers, KILL unless said otherwise.",
    options=(value("-s", "--signal", "SIGNAL", help="the signal to send"),),
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Signal each and print the name it was given by."""
    from builder.containers.lifecycle import kill

    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                record = engine.containers.record(name)
                kill(engine.containers.place, record, arguments.value("signal") or "")
                session.print(name)
    return session.status
