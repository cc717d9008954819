"""`builder cache rm`: remove cache mounts."""

from builder.cli.options import Argument, Arguments, Command, flag, multiple
from builder.cli.session import Session
from builder.errors import UsageError

COMMAND = Command(
    name="cache rm",
    summary="Remove cache mounts that no step uses now.",
    arguments=(Argument("ID", minimum=0, maximum=None),),
    options=(
        flag("-a", "--all", help="remove all of them"),
        multiple("--id", "ID", help="the ID of a mount, or how its hash begins"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Remove them and print their hashes."""
    ids = (*arguments.words, *arguments.values("id"))
    if not ids and not arguments.flag("all"):
        raise UsageError("no cache mount is named", fix="give IDs, or --all")
    with session.engine() as engine:
        for mount in engine.remove_mounts(ids):
            session.print(mount.hash)
    return 0
