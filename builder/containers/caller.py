"""The caller of a command: input with the keys that detach, output, signals, and a terminal."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from builder.containers.request import Attachment
from builder.kernel.loop import READABLE, Loop
from builder.sandbox.console import DEFAULT_DETACH_KEYS, DetachScanner, detach_keys, size

_CHUNK_BYTES = 64 << 10
_PROXIED = (1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22)


class CallerInput:
    """Reads what the caller types, or has in a file, and passes it on without the detach keys."""

    def __init__(
        self,
        loop: Loop,
        attachment: Attachment,
        *,
        give: Callable[[bytes], None],
        end: Callable[[], None],
    ) -> None:
        """Prepare; `end` is called when there is no more to `give`."""
        self._loop = loop
        self._fd = attachment.stdin
        self._give = give
        self._end = end
        keys = attachment.detach_keys or DEFAULT_DETACH_KEYS
        self._scanner = DetachScanner(detach_keys(keys) if attachment.is_tty else b"")

    @property
    def is_detached(self) -> bool:
        """Whether the keys that detach were typed."""
        return self._scanner.is_detached

    def listen(self) -> None:
        """Read from now on, if the caller gives input at all."""
        if self._fd is not None:
            self._loop.watch(self._fd, READABLE, self._read)

    def pause(self) -> None:
        """Leave the input where it is for a while."""
        if self._fd is not None:
            self._loop.unwatch(self._fd)

    def _read(self) -> None:
        if self._fd is None:
            return
        try:
            content = os.read(self._fd, _CHUNK_BYTES)
        except OSError:
            content = b""
        if not content:
            self.pause()
            self._end()
        elif passed := self._scanner.feed(content):
            self._give(passed)


def show(fd: int, content: bytes) -> bool:
    """Write output where the caller wants it, who may be slow; False if he reads no more."""
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody has made it non-blocking
            _wait_for_room(fd)
        except OSError:
            return False
    return True


def _wait_for_room(fd: int) -> None:
    import select

    select.select([], [fd], [])


@contextmanager
def passing_signals(kill: Callable[[int], None]) -> Iterator[None]:
    """Pass on the signals that come meanwhile: the process would not hear of them otherwise."""
    from signal import signal

    previous = {n: signal(n, lambda number, _frame: kill(number)) for n in _PROXIED}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal(number, handler)


def terminal_size(attachment: Attachment) -> tuple[int, int]:
    """Ask the caller's terminal for its rows and columns; (0, 0) if there is none."""
    for fd in (attachment.stdin, attachment.stdout, attachment.stderr):
        if fd is not None:
            found = size(fd)
            if found != (0, 0):
                return found
    return 0, 0
