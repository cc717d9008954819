"""`builder volume create`: a directory that outlives containers."""

from builder.cli.options import Argument, Arguments, Command, multiple, value
from builder.cli.session import Session

COMMAND = Command(
    name="volume create",
    summary="Make a volume.",
    options=(
        value("-d", "--driver", "NAME", help="the driver; only local"),
        multiple("--label", "KEY[=VALUE]", help="set a label"),
        value("--name", "NAME", help="for docker's command lines", is_hidden=True),
        multiple("-o", "--opt", "KEY=VALUE", help="an option of the driver"),
    ),
    arguments=(Argument("NAME", minimum=0),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Make it and print its name."""
    from builder.cli.values import key_value
    from builder.containers.storage import create

    name = arguments.words[0] if arguments.words else arguments.value("name") or ""
    pairs = (text.partition("=") for text in arguments.values("label"))
    with session.engine() as engine:
        volume = create(
            engine.containers.place,
            name,
            driver=arguments.value("driver") or "local",
            labels=tuple((key, label) for key, _, label in pairs),
            options=tuple(key_value(text, "--opt") for text in arguments.values("opt")),
        )
    session.print(volume.name)
    return 0
