"""`builder network connect`: one more network for a container."""

from builder.cli.options import Argument, Arguments, Command, multiple, value
from builder.cli.session import Session

COMMAND = Command(
    name="network connect",
    summary="Connect a container to a network.",
    options=(
        multiple("--alias", "NAME", help="one more name in the network"),
        value("--ip", "IP", help="the address to take"),
    ),
    arguments=(Argument("NETWORK"), Argument("CONTAINER")),
)


def run(arguments: Arguments, session: Session) -> int:
    """Connect it, at once if it runs."""
    from builder.containers.model import Connection
    from builder.containers.networking import connect

    network, name = arguments.words
    wanted = Connection(network, arguments.values("alias"), arguments.value("ip") or "")
    with session.engine() as engine:
        connect(engine.containers.place, network, engine.containers.record(name), wanted)
    return 0
