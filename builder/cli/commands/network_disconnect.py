"""`builder network disconnect`: one network fewer for a container."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.session import Session

COMMAND = Command(
    name="network disconnect",
    summary="Take a container out of a network.",
    options=(flag("-f", "--force", help="for docker's command lines", is_hidden=True),),
    arguments=(Argument("NETWORK"), Argument("CONTAINER")),
)


def run(arguments: Arguments, session: Session) -> int:
    """Disconnect it, at once if it runs."""
    from builder.containers.networking import disconnect

    network, name = arguments.words
    with session.engine() as engine:
        disconnect(engine.containers.place, network, engine.containers.record(name))
    return 0
