"""`builder restart`: stop containers and start them again."""

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.session import Session

COMMAND = Command(
    name="restart",
    summary="Stop containers and start them again.",
    options=(
        value("-t", "--time", "--timeout", "SECONDS", help="how long to wait before killing; -1"),
        value("-s", "--signal", "SIGNAL", help="the signal to send first"),
    ),
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Restart each and print the name it was given by."""
    from builder.cli.values import integer

    text = arguments.value("time")
    timeout_s = None if text is None else float(integer(text, "--time"))
    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                signal = arguments.value("signal") or ""
                engine.containers.restart(name, timeout_s=timeout_s, signal=signal)
                session.print(name)
    return min(session.status, 1)
