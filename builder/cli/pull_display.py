"""What `run` and `create` show on standard error: warnings, and an image on its way here."""

import threading
from contextlib import ExitStack

from builder.cli.session import Session
from builder.events import Event, Failed, Finished, Sink, Started, Warned, discard


class PullDisplay:
    """A sink whose display is opened by the first step, and closed by its end.

    So nothing is loaded for images that are here, and the terminal is the container's alone.
    """

    def __init__(self, session: Session, image: str, *, is_quiet: bool, is_missing: bool) -> None:
        """Keep what to say; `is_missing` is said of an image that was looked for here first."""
        self._session = session
        self._image = image
        self._is_quiet = is_quiet
        self._is_missing = is_missing
        self._stack = ExitStack()
        self._display: Sink = discard
        self._step = ""
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Warned):
            self._session.warn(event.text)
            return
        if self._is_quiet:
            return
        with self._lock:
            if isinstance(event, Started) and not self._step:
                self._open(event)
        self._display(event)
        if isinstance(event, Finished | Failed) and event.step == self._step:
            with self._lock:
                self._display, self._step = discard, ""
                self._stack.close()

    def _open(self, event: Started) -> None:
        if self._is_missing:
            self._session.note(f"Unable to find image '{self._image}' locally")
        self._step = event.step
        self._display = self._stack.enter_context(self._session.progress())


def pull_display(session: Session, image: str, *, is_quiet: bool, policy: str) -> Sink:
    """Give the sink for making a container of an image."""
    is_missing = policy != "always"
    return PullDisplay(session, image, is_quiet=is_quiet, is_missing=is_missing)
