"""Everything that can go wrong in words a user can act on, and the exit status of each.

An error says in one sentence what is the case (`what`), where (`span`), and what to do (`fix`).
Packages translate foreign exceptions once, at their edge; only the command line renders them.
"""

import os
from typing import ClassVar

from builder.source import Span, excerpt, narrowed
from builder.text import visible, visible_lines

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_ENGINE = 125
EXIT_NOT_EXECUTABLE = 126
EXIT_NOT_FOUND = 127
EXIT_CANCELLED = 130


class BuilderError(Exception):
    """The root of all errors meant for the user."""

    exit_status: ClassVar[int] = EXIT_FAILURE
    http_status: ClassVar[int] = 500

    def __init__(
        self,
        what: str,
        *,
        fix: str | None = None,
        span: Span | None = None,
        word: str = "",
        log: str | None = None,
    ) -> None:
        """Keep one sentence of fact, an imperative remedy, a place, and the last lines of a log.

        `word` is what is to blame within the span, as it is written there.
        """
        super().__init__(what)
        self.what = what
        self.fix = fix
        self.span = span
        self.word = word
        self.log = log


class UsageError(BuilderError):
    """Flags or arguments make no sense."""

    exit_status = EXIT_USAGE
    http_status = 400


class DockerfileError(BuilderError):
    """The Dockerfile's syntax or meaning is wrong; it always has a span."""

    http_status = 400


class StepFailed(BuilderError):
    """A build step ended with a non-zero status; `status` is it."""

    def __init__(
        self, what: str, *, status: int, log: str, span: Span | None = None, fix: str | None = None
    ) -> None:
        """Keep the step's exit status beside its last lines."""
        super().__init__(what, fix=fix, span=span, log=log)
        self.status = status


class NotFound(BuilderError):
    """A named object does not exist."""

    http_status = 404


class Conflict(BuilderError):
    """An object's state forbids the request."""

    http_status = 409


class Denied(BuilderError):
    """A privilege or an entitlement is missing."""

    http_status = 403


class InvalidImage(BuilderError):
    """Bytes of an image, layer or archive break their specification or a limit."""

    http_status = 400


class RegistryError(BuilderError):
    """A registry could not be reached, or answered with an error."""

    http_status = 502


class NetworkError(RegistryError):
    """A registry could not be reached, broke off, or was out of order, after all tries."""

    exit_status = 10


class AuthenticationError(RegistryError):
    """A registry wants credentials, or refuses those that it got."""

    exit_status = 11
    http_status = 401


class RateLimited(RegistryError):
    """A registry counts requests and wants no more of them for now."""

    exit_status = 12
    http_status = 429


class NotInRegistry(RegistryError):
    """A registry does not have what was asked for, or does not show it."""

    exit_status = 13
    http_status = 404


class StoreError(BuilderError):
    """The state directory is corrupt, full, or locked."""


class KernelError(BuilderError):
    """A system call was refused."""

    def __init__(self, syscall: str, errno: int, path: str = "", *, fix: str | None = None) -> None:
        """Keep the call, its errno, and what it was about."""
        about = f" {path}" if path else ""
        super().__init__(f"{syscall}{about}: {os.strerror(errno)}", fix=fix)
        self.syscall = syscall
        self.errno = errno


class StartError(BuilderError):
    """A container could not be started; `exit_status` is 125, 126 or 127 of the instance."""

    exit_status = EXIT_ENGINE

    def __init__(self, what: str, *, status: int = EXIT_ENGINE, fix: str | None = None) -> None:
        """Keep the status that `run` ends with."""
        super().__init__(what, fix=fix)
        self.exit_status = status  # type: ignore[misc]  # the instance narrows the class's default


class Cancelled(BuilderError):
    """The user or a signal ended the work."""

    exit_status = EXIT_CANCELLED
    http_status = 499


def render(error: BuilderError) -> str:
    """Format an error for a terminal: last log lines, excerpt, sentence, remedy; all escaped."""
    parts = []
    if error.log:
        parts.append(visible_lines(error.log.rstrip("\n")))
    if error.span is not None:
        parts.append(excerpt(error.span, narrowed(error.span, error.word)))
    parts.append(f"error: {visible(error.what)}")
    if error.fix:
        parts.append(f"  fix: {visible(error.fix)}")
    return "\n".join(parts)
