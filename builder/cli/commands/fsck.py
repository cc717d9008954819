"""`builder fsck`: check that everything in the store is what it should be."""

from builder.cli.options import Arguments, Command, flag
from builder.cli.session import Session

COMMAND = Command(
    name="fsck",
    summary="Check the store, and repair it if asked.",
    description="A repair removes what is broken, so that it is fetched or built again.",
    options=(
        flag("--repair", help="remove what is broken"),
        flag("--quick", help="compare sizes only, do not read the blobs"),
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Print one line a problem; the status is 1 if one of them is left."""
    is_repairing = arguments.flag("repair")
    with session.engine() as engine:
        problems = engine.check_store(
            is_repairing=is_repairing, is_deep=not arguments.flag("quick")
        )
    for problem in problems:
        done = " (repaired)" if problem.is_repaired else ""
        session.print(f"{problem.kind} {problem.name}: {problem.what}{done}")
    is_left = any(not problem.is_repaired for problem in problems)
    if is_left and not is_repairing:
        session.note("run builder fsck --repair to remove what is broken")
    return int(is_left)
