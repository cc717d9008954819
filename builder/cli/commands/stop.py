"""`builder stop`: ask containers to end, and kill those that do not."""

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.session import Session

COMMAND = Command(
    name="stop",
    summary="Stop containers.",
    options=(
        value("-t", "--time", "--timeout", "SECONDS", help="how long to wait before killing; -1"),
        value("-s", "--signal", "SIGNAL", help="the signal to send first"),
    ),
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Stop each and print the name it was given by."""
    from builder.cli.values import integer
    from builder.containers.lifecycle import stop

    text = arguments.value("time")
    timeout_s = None if text is None else float(integer(text, "--time"))
    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                stop(
                    engine.containers.place,
                    engine.containers.record(name),
                    timeout_s=timeout_s,
                    signal=arguments.value("signal") or "",
                )
                session.print(name)
    return session.status
