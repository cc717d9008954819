"""`builder network rm`: remove networks."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.session import Session
from builder.errors import BuilderError, NotFound

COMMAND = Command(
    name="network rm",
    summary="Remove networks.",
    options=(flag("-f", "--force", help="do not mind those that are not there"),),
    arguments=(Argument("NETWORK", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Remove each and print the name it was given by."""
    from builder.containers.networking import remove

    with session.engine() as engine:
        for name in arguments.words:
            try:
                remove(engine.containers.place, name)
                session.print(name)
            except NotFound as error:
                if not arguments.flag("force"):
                    session.fail(error)
            except BuilderError as error:
                session.fail(error)
    return session.status
