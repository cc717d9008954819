"""`builder builder prune`: remove cached steps and cache mounts."""

import time
from typing import TYPE_CHECKING

from builder.cli.options import Arguments, Command, flag, multiple
from builder.cli.pruning import LIMITS, UNTIL
from builder.cli.session import Session

if TYPE_CHECKING:
    from builder.engine.reclaim import CachePrune

COMMAND = Command(
    name="builder prune",
    summary="Remove build cache.",
    options=(
        flag("-a", "--all", help="all that no image uses (always so)", is_hidden=True),
        flag("--dry-run", help="only say what would go"),
        multiple("--filter", "KEY=VALUE", help="until=AGE, id=ID, type=regular|exec.cachemount"),
        flag("-f", "--force", help="do not ask"),
        *LIMITS,
        UNTIL,
        flag("--verbose", help="show what the steps were"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Ask, remove, and list what went."""
    from builder.cli.confirmation import is_confirmed
    from builder.cli.tables import aligned, human_age, human_size
    from builder.text import visible

    wanted = _wanted(arguments)
    is_dry_run = arguments.flag("dry-run")
    warning = "This will remove all build cache that no image uses."
    if not (arguments.flag("force") or is_dry_run or is_confirmed(session, warning)):
        return 0
    with session.engine() as engine:
        pruned = engine.prune_cache(wanted, is_dry_run=is_dry_run)
    rows = [
        (
            item.name[:25],
            "true",
            human_size(item.size_bytes),
            f"{human_age(max(0, time.time() - item.last_used_s))} ago" if item.last_used_s else "",
            *((visible(item.description),) if arguments.flag("verbose") else ()),
        )
        for item in pruned.items
    ]
    heading = ("ID", "RECLAIMABLE", "SIZE", "LAST ACCESSED", "DESCRIPTION")
    if rows:
        session.print("\n".join(aligned([heading[: len(rows[0])], *rows])))
    session.print(f"Total:\t{human_size(pruned.freed_bytes)}")
    return 0


def _wanted(arguments: Arguments) -> "CachePrune":
    from builder.cli.pruning import cache_prune, limits
    from builder.cli.values import filters

    given = dict(filters(arguments.values("filter")))
    until = arguments.value("until")
    if until is not None:
        given["until"] = (*given.get("until", ()), until)
    asked, chosen = limits(arguments), cache_prune(given)
    return asked._replace(until_s=chosen.until_s, ids=chosen.ids, kinds=chosen.kinds)
