"""`builder commit`: an image of a container's files as they are."""

from builder.cli.options import Argument, Arguments, Command, flag, multiple, value
from builder.cli.session import Session

COMMAND = Command(
    name="commit",
    summary="Make an image of a container's files.",
    options=(
        value("-a", "--author", "TEXT", help="who made it"),
        multiple("-c", "--change", "INSTRUCTION", help="apply a Dockerfile instruction"),
        value("-m", "--message", "TEXT", help="why"),
        flag("-p", "--pause", help="freeze the container meanwhile", is_on=True),
    ),
    arguments=(Argument("CONTAINER"), Argument("NAME[:TAG]", minimum=0)),
)


def run(arguments: Arguments, session: Session) -> int:
    """Make it and print its ID."""
    from builder.engine.container_images import CommitRequest, commit
    from builder.oci.reference import parse_reference

    name, *tags = arguments.words
    request = CommitRequest(
        parse_reference(tags[0]) if tags else None,
        arguments.values("change"),
        author=arguments.value("author") or "",
        message=arguments.value("message") or "",
        is_paused=arguments.flag("pause"),
    )
    with session.engine() as engine:
        place = engine.containers.place
        session.print(commit(place, engine.containers.record(name), request))
    return 0
