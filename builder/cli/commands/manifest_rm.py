"""`builder manifest rm`: forget lists."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="manifest rm",
    summary="Forget lists of manifests that were being put together.",
    arguments=(Argument("LIST", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Forget each."""
    with session.engine() as engine:
        for name in arguments.words:
            with session.going_on():
                engine.remove_manifest(name)
    return session.status
