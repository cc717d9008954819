"""The program: standard streams, global options, one command, one place where errors are shown."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from builder import __version__
from builder.cli import argv, groups
from builder.cli.options import Arguments, Command, flag, value
from builder.cli.session import ReaderGone, Session
from builder.cli.start import open_standard_streams
from builder.engine.settings import SYSTEM_ROOT, Settings
from builder.errors import EXIT_BUG, EXIT_FAILURE, BuilderError, Cancelled, StoreError, render

if TYPE_CHECKING:
    from builder.engine.forerunner import Forerunner

PROGRAM = Command(
    name="builder",
    summary="Build images from Dockerfiles, keep them, and run them.",
    options=(
        value("--root", "DIR", help="keep images, cache and containers in DIR ($BUILDER_ROOT)"),
        flag("-D", "--debug", help="show more, and tracebacks"),
        flag("-v", "--version", help="print the version"),
    ),
    is_interspersed=False,
)

COMPLETION_VARIABLE = "_BUILDER_COMPLETE"
EXIT_READER_GONE = 128 + signal.SIGPIPE
_RESOURCE_ERRORS = frozenset(
    {"ENOSPC", "EDQUOT", "EIO", "EROFS", "EMFILE", "ENFILE", "ENOMEM", "EFBIG"}
)


def entry(forerunner: "Forerunner | None" = None) -> None:
    """Run as a program, and leave without the interpreter's own slow farewell.

    The launcher may have started a forerunner of the build that the words ask for.
    """
    open_standard_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # no KeyboardInterrupt at any bytecode
    status = main(sys.argv[1:], os.environ, forerunner)
    os._exit(status)  # nothing of ours is buffered or waits for atexit


def main(
    words: Sequence[str], environ: Mapping[str, str], forerunner: "Forerunner | None" = None
) -> int:
    """Carry out one command line; the exit status."""
    session = Session(Settings(root=SYSTEM_ROOT), environ, forerunner=forerunner)
    try:
        return guarded(session, lambda: _dispatch(session, words))
    finally:
        session.afterwards.start()


def guarded(session: Session, work: Callable[[], int]) -> int:
    """Do something; its exit status. Errors are shown here and nowhere else."""
    try:
        return work()
    except ReaderGone:
        return EXIT_READER_GONE
    except BuilderError as error:
        session.note(render(error))
        return error.exit_status
    except Exception as error:  # noqa: BLE001 - the process boundary
        return _unexpected(session, error)


def _dispatch(session: Session, words: Sequence[str]) -> int:
    """Read the global options, find the command, run it."""
    if COMPLETION_VARIABLE in session.environ:
        from builder.cli.clicked import complete

        return complete(session)
    try:
        found, rest = argv.read(PROGRAM.options, words, is_interspersed=False)
    except argv.Doubt as doubt:
        return _explain(session, PROGRAM, doubt)
    given = Arguments(PROGRAM, found, rest)
    if given.flag("version"):
        session.print(f"builder version {__version__}")
        return 0
    session.configure(given.value("root"), is_debug=given.flag("debug"))
    target = groups.resolve(rest)
    if target is None:
        from builder.cli.clicked import no_command

        return no_command(session, rest)
    implementation = groups.implementation(target.module)
    try:
        arguments = argv.parse(implementation.command, target.rest)
    except argv.Doubt as doubt:
        return _explain(session, implementation.command, doubt)
    return _run(session, implementation, arguments)


def _explain(session: Session, command: Command, doubt: argv.Doubt) -> int:
    from builder.cli.clicked import explain

    return explain(session, command, doubt)


def _run(session: Session, implementation: groups.Implementation, arguments: Arguments) -> int:
    """Run a command; map the status of its failures."""
    command = implementation.command
    try:
        return implementation.run(arguments, session)
    except Cancelled as error:
        session.note(render(error))
        return 128 + session.interrupts.signal if session.interrupts.signal else error.exit_status
    except BuilderError as error:
        session.note(render(error))
        return status_of(command, error)


def status_of(command: Command, error: BuilderError) -> int:
    """Choose the exit status of a command's error: its class's, unless the command has its own."""
    match error.exit_status:
        case 1:
            return command.failure_status
        case 2:
            return command.usage_status
        case status:
            return status


def _unexpected(session: Session, error: Exception) -> int:
    """Show what nobody foresaw: a lack of resources as such, anything else as a bug."""
    if isinstance(error, MemoryError):
        session.note("error: the machine has no memory left for builder")
        return EXIT_FAILURE
    if isinstance(error, OSError) and error.errno is not None:
        import errno

        if errno.errorcode.get(error.errno) in _RESOURCE_ERRORS:
            about = f" {error.filename}" if error.filename else ""
            session.note(render(StoreError(f"{os.strerror(error.errno)}{about}")))
            return EXIT_FAILURE
    return _bug(session, error)


def _bug(session: Session, error: Exception) -> int:
    """Save the traceback and say where it is."""
    import traceback

    text = "".join(traceback.format_exception(error))
    if session.settings.is_debug:
        session.note(text)
    saved = _save(session.settings.root, text)
    session.note(f"error: builder has a bug: {type(error).__name__}: {error}")
    if saved:
        session.note(f"  fix: report it with the traceback in {saved}")
    else:
        session.note("  fix: run it again with --debug and report the traceback")
    return EXIT_BUG


def _save(root: str, text: str) -> str | None:
    """Write a traceback below the state directory; None if that cannot be written."""
    directory = os.path.join(root, "crashes")
    path = os.path.join(directory, f"{int(time.time())}-{os.getpid()}.txt")
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as out:
            out.write(text)
    except OSError:
        return None
    return path
