"""`builder rm`: remove containers."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.session import Session
from builder.errors import BuilderError, NotFound, render

COMMAND = Command(
    name="rm",
    summary="Remove containers.",
    options=(
        flag("-f", "--force", help="kill those that run; do not mind those that are not there"),
        flag("-v", "--volumes", help="remove their anonymous volumes too"),
        flag("-l", "--link", help="for docker's command lines", is_hidden=True),
    ),
    arguments=(Argument("CONTAINER", maximum=None),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Remove each and print the name it was given by."""
    from builder.containers.lifecycle import remove_container

    is_forced = arguments.flag("force")
    with session.engine() as engine:
        for name in arguments.words:
            try:
                remove_container(
                    engine.containers.place,
                    engine.containers.record(name),
                    is_forced=is_forced,
                    with_volumes=arguments.flag("volumes"),
                )
                session.print(name)
            except NotFound as error:
                if is_forced:
                    session.note(render(error))
                else:
                    session.fail(error)
            except BuilderError as error:
                session.fail(error)
    return session.status
