"""`builder manifest push`: a list and all that it names, to a registry."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.registry_options import ACCESS_OPTIONS, access
from builder.cli.session import Session

COMMAND = Command(
    name="manifest push",
    summary="Send a list to a registry, with the images that the registry lacks.",
    arguments=(Argument("LIST"), Argument("DESTINATION", minimum=0)),
    options=(
        flag("-p", "--purge", "--rm", help="forget the list afterwards"),
        flag("-q", "--quiet", help="print the digest only"),
        *ACCESS_OPTIONS,
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Push, and print the digest."""
    name, *rest = arguments.words
    target = rest[0].removeprefix("docker://") if rest else None
    is_quiet = arguments.flag("quiet")
    with session.progress(is_quiet=is_quiet) as sink, session.engine(sink) as engine:
        digest = engine.push_manifest(
            name, target, is_removed=arguments.flag("purge"), access=access(arguments)
        )
    session.print(digest)
    return 0
