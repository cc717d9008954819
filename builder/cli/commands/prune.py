"""`builder prune`: remove all that nobody uses."""

from typing import TYPE_CHECKING

from builder.cli.options import Arguments, Command, flag, multiple
from builder.cli.pruning import LIMITS, UNTIL
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.engine.tidy import Tidied

COMMAND = Command(
    name="prune",
    summary="Remove stopped containers, and networks, images and cache that nobody uses.",
    options=(
        flag("-a", "--all", help="also images that have names"),
        flag("--dry-run", help="only say what would go"),
        multiple("--filter", "KEY=VALUE", help="until=AGE, label=KEY[=VALUE], label!=KEY[=VALUE]"),
        flag("-f", "--force", help="do not ask"),
        *LIMITS,
        UNTIL,
        flag("--volumes", help="also volumes without a name of their own"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Ask, remove, and say what went."""
    from builder.cli.confirmation import is_confirmed
    from builder.cli.pruning import limits, print_images, print_total, until_s
    from builder.cli.values import filters

    given = dict(filters(arguments.values("filter")))
    until = arguments.value("until")
    if until is not None:
        given["until"] = (*given.get("until", ()), until)
    cache = limits(arguments)._replace(until_s=until_s(given))
    is_dry_run = arguments.flag("dry-run")
    is_certain = arguments.flag("force") or is_dry_run
    if not is_certain and not is_confirmed(session, _warning(arguments)):
        return 0
    with session.engine() as engine:
        tidied = engine.tidy(
            given,
            cache=cache,
            with_named_images=arguments.flag("all"),
            with_volumes=arguments.flag("volumes"),
            is_dry_run=is_dry_run,
        )
    if is_dry_run:
        session.print("Nothing is removed; without --dry-run this would be:\n")
    for title, names in _sections(tidied):
        if names:
            session.print("\n".join((f"Deleted {title}:", *names, "")))
    print_images(session, tidied.images)
    gone = [item.name for item in tidied.cache if item.kind != "blob"]
    if gone:
        session.print("\n".join(("Deleted build cache objects:", *gone, "")))
    print_total(session, tidied.freed_bytes)
    return 0


def _sections(tidied: "Tidied") -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (
        ("Containers", tidied.containers),
        ("Networks", tidied.networks),
        ("Volumes", tidied.volumes),
    )


def _warning(arguments: Arguments) -> str:
    lines = [
        "This will remove:",
        "  - all stopped containers",
        "  - all networks not used by at least one container",
    ]
    if arguments.flag("volumes"):
        lines.append("  - all anonymous volumes not used by at least one container")
    is_all = arguments.flag("all")
    lines.append("  - all images without a container" if is_all else "  - all dangling images")
    lines.append("  - unused build cache")
    return "\n".join(lines) + "\n"
