"""A descriptor written by a thread of its own, so that a slow reader never stalls a step.

What nobody reads for long is kept up to a limit; beyond it log lines are dropped and counted.
"""

import os
import select
import threading

BACKLOG_BYTES = 4 << 20


class Writer:
    """Queues bytes for a descriptor; `close` waits until they are written or the reader is gone."""

    def __init__(self, descriptor: int, *, backlog_bytes: int = BACKLOG_BYTES) -> None:
        """Start no thread yet: the zygote must be forked first."""
        self._descriptor = descriptor
        self._limit = backlog_bytes
        self._changed = threading.Condition()
        self._queue = bytearray()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._is_closing = False
        self._is_broken = False

    def write(self, content: bytes, *, is_log: bool = False) -> None:
        """Queue bytes and return at once; a log line may be dropped if far too much waits."""
        with self._changed:
            if self._is_broken or self._is_closing:
                return
            if is_log and len(self._queue) > self._limit:
                self._dropped += 1
                return
            self._queue += self._notice()
            self._queue += content
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _notice(self) -> bytes:
        dropped, self._dropped = self._dropped, 0
        return (
            b"[%d log lines are missing here: the reader was too slow]\n" % dropped * bool(dropped)
        )

    def close(self) -> None:
        """Write out what waits, and stop the thread."""
        with self._changed:
            if not self._is_broken:
                self._queue += self._notice()
            self._is_closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._is_closing:
                    self._changed.wait()
                content, self._queue = self._queue, bytearray()
            if not content:
                return
            if not self._written(content):
                with self._changed:
                    self._is_broken = True
                    self._queue.clear()
                return

    def _written(self, content: bytearray) -> bool:
        """Write all bytes; False when the reader has gone, or the device is full."""
        view = memoryview(content)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except OSError:
                return False
        return True
