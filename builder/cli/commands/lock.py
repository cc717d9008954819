"""`builder lock`: pin what a Dockerfile stands on, beside it."""

import os

from builder.cli.commands.build import COMMAND as BUILD
from builder.cli.options import Argument, Arguments, Command, optional
from builder.cli.session import Session
from builder.errors import UsageError
from builder.text import visible

COMMAND = Command(
    name="lock",
    summary="Pin base images, downloads and git refs in a lock beside the Dockerfile.",
    description=(
        "Writes DOCKERFILE.lock. Builds use it while it is there, whatever --pull says; build"
        " --locked refuses what it lacks. Pins that are there stay, unless --update names them:"
        " builder lock --update [NAME...] [PATH]. With --locked, nothing is"
        " written; the status is 1 if the lock is not what would be."
    ),
    arguments=(Argument("[NAME...] [PATH]", minimum=0, maximum=None),),
    options=(
        optional("--update", "NAME", help="look anew, for NAMEs or for all", implied=""),
        *BUILD.options,
    ),
)


def run(arguments: Arguments, session: Session) -> int:
    """Resolve, write, and show what moved."""
    from builder.cli.build_request import build_request, progress_kind
    from builder.engine.locking import LockRequest

    given = arguments.value("update")
    is_updating = given is not None
    names, context = _names_and_context(arguments.words, is_updating=is_updating)
    names = (given, *names) if given else names
    arguments.words = (context,)
    build = build_request(arguments, session)
    if build.is_locked and is_updating:
        raise UsageError("--locked and --update exclude each other")
    kind = progress_kind(arguments, session)
    with session.progress(kind) as sink, session.engine(sink) as engine:
        locked = engine.write_lock(LockRequest(build, is_updating, names))
    for name, old, new in locked.moved:
        session.print(f"{visible(name)}: {old or 'not locked'} → {new or 'not needed'}")
    count = sum(1 for _ in locked.lock.entries())
    moved = f"{len(locked.moved)} moved" if locked.moved else "nothing moved"
    session.note(f"{locked.path}: {count} pins, {moved}")
    return 1 if build.is_locked and locked.moved else 0


def _names_and_context(words: tuple[str, ...], *, is_updating: bool) -> tuple[tuple[str, ...], str]:
    """Tell names from the context, which is the last word if that is a directory."""
    if words and (not is_updating or os.path.isdir(words[-1])):
        names, context = words[:-1], words[-1]
    else:
        names, context = words, "."
    if names and not is_updating:
        raise UsageError(f"there is more than one context: {' '.join(words)}")
    return names, context
