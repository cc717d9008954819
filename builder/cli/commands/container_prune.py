"""`builder container prune`: remove all containers that do not run."""

from builder.cli.options import Arguments, Command, flag, multiple
from builder.cli.session import Session
from builder.errors import BuilderError

COMMAND = Command(
    name="container prune",
    summary="Remove all containers that do not run.",
    options=(
        multiple("--filter", "KEY=VALUE", help="label, label!, until"),
        flag("-f", "--force", help="do not ask"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Remove them and say which, and how much space that gave."""
    from builder.cli.tables import human_size
    from builder.cli.values import filters
    from builder.containers.lifecycle import remove_container
    from builder.containers.listing import prunable

    removed, freed = [], 0
    with session.engine() as engine:
        containers = engine.containers
        containers.sweep()
        for record in prunable(containers.place, filters(arguments.values("filter"))):
            own, _total = containers.sizes(record.container)
            try:
                remove_container(containers.place, record, is_forced=False, with_volumes=False)
            except BuilderError as error:
                session.fail(error)
                continue
            removed.append(record.container.id)
            freed += own
    if removed:
        session.print("\n".join(["Deleted Containers:", *removed, ""]))
    session.print(f"Total reclaimed space: {human_size(freed)}")
    return session.status
