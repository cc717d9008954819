"""`builder rmi`: take names and images away."""

from builder.cli.options import Argument, Arguments, Command, flag
from builder.cli.session import Session
from builder.errors import BuilderError

COMMAND = Command(
    name="rmi",
    summary="Remove images.",
    arguments=(Argument("IMAGE", maximum=None),),
    options=(
        flag("-f", "--force", help="also where containers use it, or it has several names"),
        flag("--no-prune", help="keep untagged parents (there are none)", is_hidden=True),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Remove each image; go on after one that cannot be."""
    has_deleted = False
    with session.engine() as engine:
        for name in arguments.words:
            try:
                removed = engine.remove_image(name, is_forced=arguments.flag("force"))
            except BuilderError as error:
                session.fail(error)
                continue
            for reference in removed.untagged:
                session.print(f"Untagged: {reference.familiar}")
            if removed.deleted is not None:
                session.print(f"Deleted: {removed.deleted}")
                has_deleted = True
        if has_deleted:
            engine.sweep()
    return session.status
