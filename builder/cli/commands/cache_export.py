"""`builder cache export`: carry cache mounts away in a directory."""

from builder.cli.options import Argument, Arguments, Command, multiple
from builder.cli.session import Session

COMMAND = Command(
    name="cache export",
    summary="Write cache mounts into a directory; what is there already is not written again.",
    arguments=(Argument("DIR"),),
    options=(multiple("--id", "ID", help="only this mount (all without it)"),),
)


def run(arguments: Arguments, session: Session) -> int:
    """Write them, and say how much."""
    from builder.cli.tables import human_size
    from builder.text import visible

    [directory] = arguments.words
    with session.engine() as engine:
        done = engine.export_mounts(directory, arguments.values("id"))
    for one in done:
        size, written = human_size(one.size_bytes), human_size(one.written_bytes)
        name = visible(one.id.partition("\0")[0])
        session.print(f"{name}: {one.files} files, {size}, {written} written")
    return 0
