"""`builder image inspect`: all that is known of images."""

from typing import TYPE_CHECKING

from builder.cli.options import Argument, Arguments, Command, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.engine.api import Engine

COMMAND = Command(
    name="image inspect",
    summary="Show all that is known of images.",
    arguments=(Argument("IMAGE", maximum=None),),
    options=(value("-f", "--format", "FORMAT", help="`json`, or a Go template"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print an array of those that exist; complain about each other one."""
    from builder.cli.tables import inspect_each

    return inspect_each(arguments, session, describe)


def describe(engine: "Engine", name: str) -> dict[str, object]:
    """Describe one image as Docker's API does; NotFound if there is none."""
    return engine.inspect_image(name)
