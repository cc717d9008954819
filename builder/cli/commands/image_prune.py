"""`builder image prune`: remove images that nobody uses."""

from builder.cli.options import Arguments, Command, flag, multiple
from builder.cli.session import Session

COMMAND = Command(
    name="image prune",
    summary="Remove images without a name, or all that no container uses.",
    options=(
        flag("-a", "--all", help="also images that have names"),
        multiple("--filter", "KEY=VALUE", help="until=AGE, label=KEY[=VALUE], label!=KEY[=VALUE]"),
        flag("-f", "--force", help="do not ask"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Ask, remove, and say what went."""
    from builder.cli.confirmation import is_confirmed
    from builder.cli.pruning import image_prune, print_images, print_total
    from builder.cli.values import filters

    wanted = image_prune(filters(arguments.values("filter")), is_all=arguments.flag("all"))
    what = "images without at least one container" if arguments.flag("all") else "dangling images"
    if not arguments.flag("force") and not is_confirmed(session, f"This will remove all {what}."):
        return 0
    with session.engine() as engine:
        pruned = engine.prune_images(wanted)
    print_images(session, pruned)
    print_total(session, pruned.freed_bytes)
    return 0
