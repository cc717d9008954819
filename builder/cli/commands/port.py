"""`builder port`: where a container's ports are published."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="port",
    summary="Show where a container's ports are published.",
    arguments=(Argument("CONTAINER"), Argument("PORT[/PROTOCOL]", minimum=0)),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print all mappings, or the addresses of one port."""
    from builder.containers.listing import published_at

    name, *wanted = arguments.words
    with session.engine() as engine:
        ports = engine.containers.record(name).state.ports
    if not wanted:
        for port in ports:
            session.print(f"{port.key} -> {port.host_ip}:{port.host_port}")
        return 0
    for address in published_at(ports, wanted[0], name):
        session.print(address)
    return 0
