"""Pump what a step writes to its two streams into events, and keep its last lines."""

import os
import select
import time
from collections import deque
from typing import Literal

from builder.events import Log, Sink

CHUNK_BYTES = 64 << 10
KEPT_BYTES = 16 << 10
KEPT_LINES = 40
Stream = Literal["stdout", "stderr"]


class Output:
    """Two pipes: the write ends go to the step, the read ends are pumped until both close."""

    def __init__(self, step: str, sink: Sink) -> None:
        """Open the pipes."""
        self._step = step
        self._sink = sink
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._streams: dict[int, Stream] = {}
        read_out, self.stdout = os.pipe2(os.O_CLOEXEC)
        read_err, self.stderr = os.pipe2(os.O_CLOEXEC)
        self._streams = {read_out: "stdout", read_err: "stderr"}

    def close_write_ends(self) -> None:
        """Let go of the step's ends, so that the streams end when the step does."""
        for fd in (self.stdout, self.stderr):
            if fd >= 0:
                os.close(fd)
        self.stdout = self.stderr = -1

    def close(self) -> None:
        """Close everything that is still open."""
        self.close_write_ends()
        for fd in self._streams:
            os.close(fd)
        self._streams = {}

    def pump(self, ended_fd: int) -> None:
        """Forward output until both streams end, or `ended_fd` is readable and they are empty."""
        poll = select.poll()
        for fd in (*self._streams, ended_fd):
            poll.register(fd, select.POLLIN)
        is_ended = False
        while self._streams:
            ready = [fd for fd, _events in poll.poll(0 if is_ended else None)]
            readable = [fd for fd in ready if fd in self._streams]
            if is_ended and not readable:
                return
            is_ended = is_ended or ended_fd in ready
            for fd in readable:
                if not self._forward(fd):
                    poll.unregister(fd)
                    os.close(fd)
                    del self._streams[fd]

    def last_lines(self) -> str:
        """Give the last lines that the step wrote."""
        text = b"".join(self._tail)[-KEPT_BYTES:].decode("utf-8", "backslashreplace")
        return "\n".join(text.rstrip("\n").split("\n")[-KEPT_LINES:])

    def _forward(self, fd: int) -> bool:
        chunk = os.read(fd, CHUNK_BYTES)
        if not chunk:
            return False
        self._sink(Log(self._step, self._streams[fd], chunk, time.monotonic_ns()))
        self._tail.append(chunk)
        self._tail_bytes += len(chunk)
        while self._tail_bytes - len(self._tail[0]) > KEPT_BYTES:
            self._tail_bytes -= len(self._tail.popleft())
        return True
