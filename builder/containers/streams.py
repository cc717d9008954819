"""The standard streams of one run of a container, between its pipes (or terminal) and the monitor.

Input goes in as the container takes it, never faster; output is passed on as it comes.
"""

import os
import stat
from collections.abc import Callable

from builder.kernel.loop import READABLE, WRITABLE, Loop

CHUNK_BYTES = 64 << 10
_HIGH_WATER_BYTES = 256 << 10
Output = Callable[[str, bytes], None]


class Streams:
    """Pipes for a container without a terminal; with one, `attach_console` follows its start."""

    def __init__(
        self,
        loop: Loop,
        output: Output,
        *,
        is_tty: bool = False,
        has_stdin: bool = False,
        sources: dict[int, str] | None = None,
    ) -> None:
        """Make the pipes, but for `sources`, the output of one that runs already.

        `output` gets the name of a stream and what it brought.
        """
        self._loop = loop
        self._output = output
        self._held = bytearray()
        self._is_ending = False
        self._on_room: Callable[[], None] = _nothing
        self._sources: dict[int, str] = sources or {}
        self._stdin = -1
        self.console = -1
        self.child_fds: tuple[int, ...] = ()
        if sources is None:
            self.child_fds = self._pipes(is_tty=is_tty, has_stdin=has_stdin)
        for fd in self._sources:
            os.set_blocking(fd, False)

    @property
    def is_drained(self) -> bool:
        """Whether all output has ended."""
        return not self._sources

    @property
    def has_room(self) -> bool:
        """Whether input should be read for the container."""
        return len(self._held) < _HIGH_WATER_BYTES

    def started(self, console: int | None) -> None:
        """Close the container's ends, and take its terminal over, once it runs."""
        for fd in set(self.child_fds):
            os.close(fd)
        self.child_fds = ()
        if console is not None:
            os.set_blocking(console, False)
            self.console = self._stdin = console
            self._sources[console] = "stdout"
        self.resume()

    def resume(self) -> None:
        """Read output (again)."""
        for fd, name in self._sources.items():
            self._loop.watch(fd, READABLE, self._reader(fd, name))

    def pause(self) -> None:
        """Leave output where it is for a while."""
        for fd in self._sources:
            self._loop.unwatch(fd, READABLE)

    def write(self, content: bytes) -> None:
        """Give input to the container."""
        if self._stdin < 0 or self._is_ending:
            return
        self._held += content
        self._flush()

    def end_input(self) -> None:
        """Close the container's input once it has taken everything."""
        self._is_ending = True
        if not self._held:
            self._close_input()

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call back each time input may be given again."""
        self._on_room = callback

    def close(self) -> None:
        """Close everything, also what was not read."""
        for fd in {*self.child_fds, *self._sources, self._stdin} - {-1}:
            self._loop.unwatch(fd)
            os.close(fd)
        self.child_fds = ()
        self._sources.clear()
        self._stdin = self.console = -1

    def _pipes(self, *, is_tty: bool, has_stdin: bool) -> tuple[int, ...]:
        if is_tty:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            return (null, null, null)
        ends = []
        for name in ("stdout", "stderr"):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            self._sources[reading] = name
            ends.append(writing)
        if not has_stdin:
            return (os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), *ends)
        reading, self._stdin = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._stdin, False)
        return (reading, *ends)

    def _reader(self, fd: int, name: str) -> Callable[[], None]:
        return lambda: self._read(fd, name)

    def _read(self, fd: int, name: str) -> None:
        try:
            content = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the terminal open any more
            content = b""
        if content:
            self._output(name, content)
            return
        del self._sources[fd]
        self._loop.unwatch(fd)
        if fd == self.console:
            self.console = self._stdin = -1
        os.close(fd)

    def _flush(self) -> None:
        was_full = not self.has_room
        try:
            sent = os.write(self._stdin, self._held[:CHUNK_BYTES]) if self._held else 0
        except BlockingIOError:
            sent = 0
        except OSError:  # the container closed its input
            self._held.clear()
            self._close_input()
            return
        del self._held[:sent]
        if self._held:
            self._loop.watch(self._stdin, WRITABLE, self._flush)
        else:
            self._loop.unwatch(self._stdin, WRITABLE)
            if self._is_ending:
                self._close_input()
        if was_full and self.has_room:
            self._on_room()

    def _close_input(self) -> None:
        if self._stdin < 0 or self._stdin == self.console:
            return
        self._loop.unwatch(self._stdin)
        os.close(self._stdin)
        self._stdin = -1


def is_passed_on(fd: int) -> bool:
    """Tell whether the caller's input may be given to the container as it is.

    A pipe gives nothing away. A terminal would let the container read and type on it, and a file
    could be opened anew for writing through /proc.
    """
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False


def _nothing() -> None:
    return
