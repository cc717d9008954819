"""`builder manifest create`: begin an image of several platforms."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.registry_options import ACCESS_OPTIONS, access
from builder.cli.session import Session

COMMAND = Command(
    name="manifest create",
    summary="Put images together to a list, which manifest push sends.",
    arguments=(Argument("LIST"), Argument("MANIFEST", minimum=0, maximum=None)),
    options=(flag("-a", "--amend", help="add to a list that exists"), *ACCESS_OPTIONS),
)


def run(arguments: Arguments, session: Session) -> int:
    """Make the list."""
    name, *manifests = arguments.words
    is_amended = arguments.flag("amend")
    with session.engine() as engine:
        engine.create_manifest(name, manifests, is_amended=is_amended, access=access(arguments))
    session.print(f"Created manifest list {name}")
    return 0
