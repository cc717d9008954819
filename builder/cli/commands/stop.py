"""`builder stop`: ask containers to end, and kill those that do not."""

from builder.cli.options import Arguments, Command
from builder.cli.session import Session
from builder.cli.stopping import ARGUMENTS, OPTIONS, each

COMMAND = Command(name="stop", summary="Stop containers.", options=OPTIONS, arguments=ARGUMENTS)


def run(arguments: Arguments, session: Session) -> int:
    """Stop each and print the name it was given by."""
    return each(
        arguments,
        session,
        lambda containers, name, timeout_s, signal: containers.stop(
            name, timeout_s=timeout_s, signal=signal
        ),
    )
