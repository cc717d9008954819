"""`builder tag`: give an image one more name."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="tag",
    summary="Give an image one more name.",
    arguments=(Argument("IMAGE"), Argument("NAME[:TAG]")),
)


def run(arguments: Arguments, session: Session) -> int:
    """Tag; an image that had the name loses it."""
    source, target = arguments.words
    with session.engine() as engine:
        engine.tag(source, target)
    return 0
