"""`builder cp`: files between a container and the host."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.session import Session
from builder.errors import UsageError

COMMAND = Command(
    name="cp",
    summary="Copy files between a container and the host.",
    options=(
        flag("-a", "--archive", help="keep owners"),
        flag("-L", "--follow-link", help="copy what a link leads to"),
        flag("-q", "--quiet", help="for docker's command lines", is_hidden=True),
    ),
    arguments=(Argument("[CONTAINER:]SOURCE|-"), Argument("[CONTAINER:]DEST|-")),
)


def run(arguments: Arguments, session: Session) -> int:
    """Copy in or out; one of the two must be in a container."""
    from builder.containers.joining import join_container
    from builder.engine.container_images import (
        CopyRequest,
        check_terminal,
        copy_in,
        copy_out,
        split_place,
    )

    (source, source_path), (dest, dest_path) = (split_place(word) for word in arguments.words)
    if bool(source) == bool(dest):
        raise UsageError(
            "one of the two places must be in a container, and only one",
            fix="write it as CONTAINER:PATH",
        )
    join_container(session.settings.root, source or dest)
    keeps_owners, follow_links = arguments.flag("archive"), arguments.flag("follow-link")
    with session.engine() as engine:
        place = engine.containers.place
        if source:
            if dest_path == "-":
                check_terminal(session.stdout, "an archive")
            request = CopyRequest(source_path, dest_path, keeps_owners, follow_links)
            copy_out(place, engine.containers.record(source), request, session.stdout)
        else:
            request = CopyRequest(dest_path, source_path, keeps_owners, follow_links)
            copy_in(place, engine.containers.record(dest), request, 0)
    return 0
