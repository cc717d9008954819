"""`builder volume rm`: remove volumes and what is in them."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.session import Session
from builder.errors import BuilderError, NotFound

COMMAND = Command(
    name="volume rm",
    summary="Remove volumes.",
    options=(flag("-f", "--force", help="do not mind those that are not there"),),
    arguments=(Argument("VOLUME", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Remove each and print its name."""
    from builder.containers.storage import remove

    with session.engine() as engine:
        for name in arguments.words:
            try:
                remove(engine.containers.place, name)
            except NotFound as error:
                if not arguments.flag("force"):
                    session.fail(error)
                    continue
            except BuilderError as error:
                session.fail(error)
                continue
            session.print(name)
    return session.status
