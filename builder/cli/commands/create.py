"""`builder create`: a container made from an image, not started."""

from builder.cli.options import Argument, Arguments, Command
from builder.cli.run_options import CREATE_OPTIONS
from builder.cli.session import Session
from builder.errors import EXIT_ENGINE

COMMAND = Command(
    name="create",
    summary="Make a container from an image without starting it.",
    options=CREATE_OPTIONS,
    arguments=(Argument("IMAGE"), Argument("COMMAND", minimum=0, maximum=None)),
    is_interspersed=False,
    usage_status=EXIT_ENGINE,
)


def run(arguments: Arguments, session: Session) -> int:
    """Make the container and print its id."""
    from builder.cli.pull_display import pull_display
    from builder.cli.run_request import container_request

    request = container_request(arguments, session)
    is_quiet = arguments.flag("quiet")
    sink = pull_display(session, request.image, is_quiet=is_quiet, policy=request.pull)
    with session.engine(sink) as engine:
        session.print(engine.containers.create(request, is_detached=False).id)
    return 0
