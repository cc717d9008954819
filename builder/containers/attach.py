"""The caller's side of a container whose monitor is another process: streams, size, detaching."""

import os
from _socket import socket as _socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress

from builder.containers import frames
from builder.containers.caller import CallerInput, passing_signals, show, terminal_size
from builder.containers.request import Attachment
from builder.kernel.loop import READABLE, Loop
from builder.sandbox.console import raw_mode

_CHUNK_BYTES = 64 << 10
_SIGWINCH = 28


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
        self._input = CallerInput(
            self._loop,
            attachment,
            give=lambda content: self._send(frames.frame(frames.STDIN, content)),
            end=lambda: self._send(frames.frame(frames.STDIN_END)),
        )
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
            self._input.listen()
            while not self._is_over and not self._input.is_detached:
                self._loop.turn()
        return 0 if self._input.is_detached else self._status

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
                show(self._attachment.stdout, body)
            elif kind == frames.STDERR:
                show(self._attachment.stderr, body)

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
