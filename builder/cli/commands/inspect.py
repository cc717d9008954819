"""`builder inspect`: whatever has the name, whether container, image, volume or network."""

from typing import TYPE_CHECKING

from builder.cli import groups
from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session
from builder.errors import NotFound

if TYPE_CHECKING:
    from builder.engine.api import Engine

TYPES = ("container", "image", "volume", "network")

COMMAND = Command(
    name="inspect",
    summary="Show all that is known of containers, images, volumes and networks.",
    arguments=(Argument("NAME", maximum=None),),
    options=(
        value("-f", "--format", "FORMAT", help="`json`, or a Go template"),
        flag("-s", "--size", help="show sizes of containers"),
        value("--type", "TYPE", help="look only for this type", choices=TYPES),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print an array of those that exist; complain about each other one."""
    from builder.cli.tables import inspect_each

    only = arguments.value("type")
    types = (only,) if only else TYPES
    return inspect_each(arguments, session, lambda engine, name: _described(engine, name, types))


def _described(engine: "Engine", name: str, types: tuple[str, ...]) -> dict[str, object]:
    """Ask the types in turn; the first that knows the name answers."""
    for kind in types:
        describe = groups.description(f"{kind}_inspect")
        if describe is None:
            continue
        try:
            return describe(engine, name)
        except NotFound:
            continue
    what = types[0] if len(types) == 1 else "object"
    raise NotFound(f"no such {what}: {name}")
