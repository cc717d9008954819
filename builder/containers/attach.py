"""The caller's side of a container whose monitor is another process: streams, size, detaching."""

import os
from _socket import socket as _socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from builder.containers import frames
from builder.containers.request import Attachment
from builder.kernel.loop import READABLE, Loop
from builder.sandbox.console import (
    DEFAULT_DETACH_KEYS,
    DetachScanner,
    detach_keys,
    raw_mode,
    size,
)

_CHUNK_BYTES = 64 << 10
_SIGWINCH = 28
_PROXIED = (1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22)


class Attached:
    """One attachment; `run` returns when the container ends or the caller detaches."""

    def __init__(
        self, connection: _socket, attachment: Attachment, kill: Callable[[int], None]
    ) -> None:
        """Take over a connection to the monitor. `kill` sends a signal to the container."""
        self._connection = connection
        self._attachment = attachment
        self._kill = kill
        self._loop = Loop()
        self._decoder = frames.Decoder()
        keys = attachment.detach_keys or DEFAULT_DETACH_KEYS
        self._scanner = DetachScanner(detach_keys(keys) if attachment.is_tty else b"")
        self._status: int | None = None
        self._is_over = False

    def run(self) -> int | None:
        """Serve; the exit status, 0 after detaching, None if the monitor vanished."""
        attachment = self._attachment
        words = b"output input" if attachment.stdin is not None else b"output"
        with closing(self._connection), ExitStack() as stack:
            self._connection.sendall(frames.frame(frames.HELLO, words))
            if attachment.is_tty:
                if attachment.stdin is not None:
                    stack.enter_context(raw_mode(attachment.stdin))
                stack.enter_context(self._resizing())
            elif attachment.is_sig_proxy:
                stack.enter_context(passing_signals(self._kill))
            self._loop.watch(self._connection.fileno(), READABLE, self._receive)
            if attachment.stdin is not None:
                self._loop.watch(attachment.stdin, READABLE, self._read)
            while not self._is_over:
                self._loop.turn()
        return self._status

    def _receive(self) -> None:
        try:
            content = self._connection.recv(_CHUNK_BYTES)
        except OSError:
            content = b""
        if not content:
            self._is_over = True
            return
        for kind, body in self._decoder.feed(content):
            if kind == frames.EXIT:
                self._status = int(body)
                self._is_over = True
            elif kind == frames.STDOUT:
                _write(self._attachment.stdout, body)
            elif kind == frames.STDERR:
                _write(self._attachment.stderr, body)

    def _read(self) -> None:
        stdin = self._attachment.stdin
        if stdin is None:
            return
        try:
            content = os.read(stdin, _CHUNK_BYTES)
        except OSError:
            content = b""
        if not content:
            self._loop.unwatch(stdin)
            self._send(frames.frame(frames.STDIN_END))
            return
        passed = self._scanner.feed(content)
        if passed:
            self._send(frames.frame(frames.STDIN, passed))
        if self._scanner.is_detached:
            self._status = 0
            self._is_over = True

    def _send(self, content: bytes) -> None:
        try:
            self._connection.sendall(content)
        except OSError:
            self._is_over = True

    @contextmanager
    def _resizing(self) -> Iterator[None]:
        """Tell the container's terminal its size, now and whenever ours changes."""
        from signal import signal

        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        previous = signal(_SIGWINCH, lambda _number, _frame: _poke(writing))

        def resize() -> None:
            os.read(reading, _CHUNK_BYTES)
            rows, columns = terminal_size(self._attachment)
            if rows:
                self._send(frames.size(rows, columns))

        self._loop.watch(reading, READABLE, resize)
        _poke(writing)
        try:
            yield
        finally:
            signal(_SIGWINCH, previous)
            os.close(reading)
            os.close(writing)


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


def wait_for_exit(connection: _socket) -> int | None:
    """Wait until the main process ends; its status, None if the monitor vanished."""
    decoder = frames.Decoder()
    with closing(connection), suppress(ConnectionError):  # reset: it ended before it had read us
        connection.sendall(frames.frame(frames.HELLO))
        while content := connection.recv(_CHUNK_BYTES):
            for kind, body in decoder.feed(content):
                if kind == frames.EXIT:
                    return int(body)
    return None


def _poke(fd: int) -> None:
    try:
        os.write(fd, b".")
    except OSError:
        return


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            from builder.containers.monitor import terminal_wait

            terminal_wait(fd)
        except OSError:
            return
