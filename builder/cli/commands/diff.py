"""`builder diff`: what a container changed."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.session import Session

COMMAND = Command(
    name="diff",
    summary="Show which files a container changed.",
    arguments=(Argument("CONTAINER"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print A, C or D and the path for each."""
    from builder.containers.changes import diff
    from builder.text import visible

    with session.engine() as engine:
        place = engine.containers.place
        for kind, path in diff(place, engine.containers.record(arguments.words[0]).container):
            session.print(f"{kind} {visible(path)}")
    return 0
