"""`builder volume inspect`: all that is known of volumes."""

from typing import TYPE_CHECKING

from builder.cli.options import Argument, Arguments, Command, flag, value
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.engine.api import Engine

COMMAND = Command(
    name="volume inspect",
    summary="Show all that is known of volumes.",
    arguments=(Argument("VOLUME", maximum=None),),
    options=(
        value("-f", "--format", "FORMAT", help="`json`, or a Go template"),
        flag("-v", "--verbose", help="for docker's command lines", is_hidden=True),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print an array of those that exist; complain about each other one."""
    from builder.cli.tables import inspect_each

    return inspect_each(arguments, session, describe)


def describe(engine: "Engine", name: str) -> dict[str, object]:
    """Describe one as Docker's API does; NotFound if there is none."""
    from builder.containers.storage import inspected

    return inspected(engine.containers.place, name)
