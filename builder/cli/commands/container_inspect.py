"""`builder container inspect`: all that is known of containers."""

from typing import TYPE_CHECKING

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.engine.api import Engine

COMMAND = Command(
    name="container inspect",
    summary="Show all that is known of containers.",
    arguments=(Argument("CONTAINER", maximum=None),),
    options=(
        value("-f", "--format", "FORMAT", help="`json`, or a Go template"),
        flag("-s", "--size", help="show sizes"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print an array of those that exist; complain about each other one."""
    from builder.cli.tables import inspect_each

    is_sized = arguments.flag("size")
    return inspect_each(arguments, session, _sized if is_sized else describe)


def describe(engine: "Engine", name: str) -> dict[str, object]:
    """Describe one container as Docker's API does; NotFound if there is none."""
    from builder.containers.inspection import inspected

    return inspected(engine.containers.place, engine.containers.record(name))


def _sized(engine: "Engine", name: str) -> dict[str, object]:
    own, total = engine.containers.sizes(engine.containers.record(name).container)
    return describe(engine, name) | {"SizeRw": own, "SizeRootFs": total}
