"""`builder cache import`: fill cache mounts from a directory."""

from builder.cli.options import Argument, Arguments, Command, flag, multiple
from builder.cli.session import Session

COMMAND = Command(
    name="cache import",
    summary="Fill cache mounts from a directory that `cache export` or `--cache-to` wrote.",
    arguments=(Argument("DIR"),),
    options=(
        flag("-f", "--force", help="replace mounts that are here already"),
        multiple("--id", "ID", help="only this mount (all without it)"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Read them, and say what became of each."""
    from builder.text import visible

    [directory] = arguments.words
    with session.engine() as engine:
        done = engine.import_mounts(
            directory, arguments.values("id"), is_replacing=arguments.flag("force")
        )
    for one in done:
        name = visible(one.id.partition("\0")[0])
        told = f"{one.files} files" if one.is_new else "left alone: it is here; --force replaces it"
        session.print(f"{name}: {told}")
    return 0
