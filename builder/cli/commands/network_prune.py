"""`builder network prune`: remove networks that no container is made for."""

from builder.cli.options import Arguments, Command, flag, multiple
from builder.cli.session import Session

COMMAND = Command(
    name="network prune",
    summary="Remove networks that no container is made for.",
    options=(
        multiple("--filter", "KEY=VALUE", help="label"),
        flag("-f", "--force", help="do not ask"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Ask, remove, and say which went."""
    from builder.cli.confirmation import is_confirmed
    from builder.cli.values import filters
    from builder.containers.networking import prune

    question = "This will remove all networks that no container is made for."
    if not arguments.flag("force") and not is_confirmed(session, question):
        return 0
    with session.engine() as engine:
        removed = prune(engine.containers.place, filters(arguments.values("filter")))
    if removed:
        session.print("\n".join(["Deleted Networks:", *removed]))
    return 0
