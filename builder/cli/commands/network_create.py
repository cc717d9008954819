"""`builder network create`: a network whose containers find each other by name."""

from builder.cli.options import Argument, Arguments, Command, flag, multiple, value
from builder.cli.session import Session

COMMAND = Command(
    name="network create",
    summary="Make a network.",
    options=(
        flag("--attachable", help="for docker's command lines", is_hidden=True),
        multiple("--aux-address", "NAME=IP", help="an address that no container gets"),
        value("-d", "--driver", "NAME", help="the driver; only bridge"),
        value("--gateway", "IP", help="the bridge's own address"),
        flag("--internal", help="no way out"),
        value("--ip-range", "SUBNET", help="give containers addresses from this part"),
        value("--ipam-driver", "NAME", help="for docker's command lines", is_hidden=True),
        multiple("--label", "KEY[=VALUE]", help="set a label"),
        multiple("-o", "--opt", "KEY=VALUE", help="an option of the driver"),
        value("--subnet", "SUBNET", help="the addresses, as 10.1.0.0/16"),
    ),
    arguments=(Argument("NETWORK"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Make it and print its id."""
    from builder.cli.values import key_value
    from builder.containers.networking import NetworkRequest, create

    pairs = (text.partition("=") for text in arguments.values("label"))
    request = NetworkRequest(
        arguments.words[0],
        arguments.value("driver") or "bridge",
        subnet=arguments.value("subnet") or "",
        gateway=arguments.value("gateway") or "",
        ip_range=arguments.value("ip-range") or "",
        is_internal=arguments.flag("internal"),
        labels=tuple((key, label) for key, _, label in pairs),
        options=tuple(key_value(text, "--opt") for text in arguments.values("opt")),
        reserved=tuple(
            key_value(text, "--aux-address") for text in arguments.values("aux-address")
        ),
    )
    with session.engine() as engine:
        network = create(engine.containers.place, request)
    session.print(network.id)
    return 0
