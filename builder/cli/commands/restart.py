"""`builder restart`: stop containers and start them again."""

from builder.cli.options import Arguments, Command
from builder.cli.session import Session
from builder.cli.stopping import ARGUMENTS, OPTIONS, each

COMMAND = Command(
    name="restart",
    summary="Stop containers and start them again.",
    options=OPTIONS,
    arguments=ARGUMENTS,
)


def run(arguments: Arguments, session: Session) -> int:
    """Restart each and print the name it was given by."""
    return each(
        arguments,
        session,
        lambda containers, name, timeout_s, signal: containers.restart(
            name, timeout_s=timeout_s, signal=signal
        ),
    )
