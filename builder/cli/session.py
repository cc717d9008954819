"""What a command gets besides its arguments: settings, the engine, and a way to be read.

Output goes straight to the descriptors: text is UTF-8 whatever the locale says, a closed pipe
ends the program as SIGPIPE would, and a lost standard error is nobody's failure.
"""

import errno
import os
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builder.cli.interrupts import Interrupts
from builder.concurrency import CancelToken
from builder.engine.afterwards import Afterwards
from builder.engine.settings import Settings, settings_from
from builder.errors import BuilderError, Cancelled, KernelError, StoreError, render
from builder.events import Sink, discard
from builder.text import visible_lines

if TYPE_CHECKING:
    from builder.engine.api import Engine
    from builder.engine.forerunner import Forerunner

STDOUT = 1
STDERR = 2


class ReaderGone(Exception):
    """Nobody reads standard output any more; the program ends quietly."""


class Session:
    """One invocation of the program."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        *,
        stdout: int = STDOUT,
        stderr: int = STDERR,
        forerunner: "Forerunner | None" = None,
    ) -> None:
        """Keep the settings; nothing is opened before `engine()`.

        A forerunner that was started for this command line is left to the command.
        """
        self.settings = settings
        self.environ = environ
        self.stdout = stdout
        self.stderr = stderr
        self.forerunner = forerunner
        self.token = CancelToken()
        self.interrupts = Interrupts(self.token)
        self.afterwards = Afterwards()
        self.status = 0

    def configure(self, root: str | None, *, is_debug: bool) -> None:
        """Read the settings from the global options and the environment; raise StoreError."""
        try:
            settings = settings_from(root, self.environ, os.getuid())
        except FileNotFoundError:
            raise StoreError(
                "the state directory is relative, and the working directory has been deleted",
                fix="give an absolute path to --root",
            ) from None
        self.settings = settings._replace(is_debug=is_debug)

    @property
    def cwd(self) -> str:
        """The working directory; KernelError if it has been deleted."""
        try:
            return os.getcwd()
        except OSError as error:
            raise KernelError(
                "getcwd", error.errno or 0, fix="change to a directory that exists"
            ) from None

    @property
    def is_stdout_tty(self) -> bool:
        """Whether results go to a terminal."""
        return os.isatty(self.stdout)

    @contextmanager
    def engine(
        self, sink: Sink = discard, *, forerunner: "Forerunner | None" = None
    ) -> "Iterator[Engine]":
        """Open the engine; from here to the end a signal cancels instead of killing.

        It can build if it is given the parser's forerunner.
        """
        from builder.engine.compose import opened

        later = self.afterwards.add
        with (
            self.interrupts,
            opened(self.settings, self.token, sink, forerunner=forerunner, later=later) as engine,
        ):
            yield engine

    @contextmanager
    def progress(self, kind: str = "auto", *, is_quiet: bool = False) -> Iterator[Sink]:
        """Give a sink that shows progress on standard error, and finish its display afterwards."""
        from builder.progress.display import display

        with display("quiet" if is_quiet else kind, self.stderr, self.environ) as sink:
            yield sink

    def print(self, text: str) -> None:
        """Write a line of results to standard output."""
        self.write(f"{text}\n".encode("utf-8", "surrogateescape"))

    def write(self, data: bytes) -> None:
        """Write bytes to standard output; raise ReaderGone if its reader has gone."""
        try:
            write_all(self.stdout, data)
        except BrokenPipeError:
            raise ReaderGone from None
        except OSError as error:
            raise KernelError("write", error.errno or 0, "standard output") from None

    def note(self, text: str) -> None:
        """Write a line to standard error, with control characters shown; never fails."""
        line = f"{visible_lines(text)}\n".encode("utf-8", "backslashreplace")
        try:
            write_all(self.stderr, line)
        except OSError:
            return

    def warn(self, text: str) -> None:
        """Write a warning to standard error."""
        self.note(f"warning: {text}")

    def fail(self, error: BuilderError) -> None:
        """Report one failure of several and remember it in `status`; Cancelled goes on up."""
        if isinstance(error, Cancelled):
            raise error
        self.note(render(error))
        self.status = error.exit_status

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Report a failure of what is done inside, one of several, and go on behind it."""
        try:
            yield
        except BuilderError as error:
            self.fail(error)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all bytes, also where the descriptor was made non-blocking by somebody else."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError as error:
            if error.errno != errno.EAGAIN:
                raise
            select.select([], [descriptor], [])
