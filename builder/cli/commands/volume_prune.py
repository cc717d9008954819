"""`builder volume prune`: remove volumes that no container has."""

from builder.cli.options import Arguments, Command, flag, multiple
from builder.cli.session import Session

COMMAND = Command(
    name="volume prune",
    summary="Remove volumes that no container has.",
    options=(
        flag("-a", "--all", help="also those with a name"),
        multiple("--filter", "KEY=VALUE", help="label"),
        flag("-f", "--force", help="do not ask"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Ask, remove, and say what went."""
    from builder.cli.confirmation import is_confirmed
    from builder.cli.tables import human_size
    from builder.cli.values import filters
    from builder.containers.storage import prune

    is_all = arguments.flag("all")
    what = "volumes" if is_all else "anonymous volumes"
    question = f"This will remove all {what} that no container has."
    if not arguments.flag("force") and not is_confirmed(session, question):
        return 0
    wanted = filters(arguments.values("filter"))
    with session.engine() as engine:
        removed, freed = prune(engine.containers.place, wanted, is_all=is_all)
    if removed:
        session.print("\n".join(["Deleted Volumes:", *removed, ""]))
    session.print(f"Total reclaimed space: {human_size(freed)}")
    return 0
