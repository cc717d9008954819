"""One thread that waits for descriptors and moments: monitors and proxies spend their lives in it.

`select.poll` by itself; the selectors module costs more to import than a container to start.
"""

import select
import time
from collections.abc import Callable

READABLE = select.POLLIN
WRITABLE = select.POLLOUT
_ALWAYS = select.POLLHUP | select.POLLERR | select.POLLNVAL

Callback = Callable[[], None]


class Loop:
    """Calls back when a descriptor is ready or a moment has come. Not thread-safe."""

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self._poll = select.poll()
        self._watched: dict[int, dict[int, Callback]] = {}
        self._timers: dict[int, tuple[float, Callback]] = {}
        self._next_timer = 0

    def watch(self, fd: int, event: int, callback: Callback) -> None:
        """Call back each time a descriptor is ready; one callback for each event."""
        self._watched.setdefault(fd, {})[event] = callback
        self._register(fd)

    def unwatch(self, fd: int, event: int | None = None) -> None:
        """Stop waiting for an event of a descriptor, or for all; nothing if it is not watched."""
        events = self._watched.get(fd)
        if events is None:
            return
        if event is None:
            events.clear()
        else:
            events.pop(event, None)
        if events:
            self._register(fd)
            return
        del self._watched[fd]
        self._poll.unregister(fd)

    def is_watching(self, fd: int, event: int) -> bool:
        """Tell whether an event of a descriptor is waited for."""
        return event in self._watched.get(fd, ())

    def after(self, delay_s: float, callback: Callback) -> int:
        """Call back once after a while; the number cancels it."""
        self._next_timer += 1
        self._timers[self._next_timer] = (time.monotonic() + delay_s, callback)
        return self._next_timer

    def cancel(self, timer: int) -> None:
        """Forget a moment; nothing if it has passed."""
        self._timers.pop(timer, None)

    def turn(self) -> None:
        """Wait until something is ready or due, and call back for it."""
        for fd, ready in self._poll.poll(self._timeout_ms()):
            for event, callback in tuple(self._watched.get(fd, {}).items()):
                if ready & (event | _ALWAYS) and self.is_watching(fd, event):
                    callback()
        moment = time.monotonic()
        for number, (due, callback) in tuple(self._timers.items()):
            if due <= moment and number in self._timers:
                del self._timers[number]
                callback()

    def _timeout_ms(self) -> float | None:
        if not self._timers:
            return None
        first = min(due for due, _callback in self._timers.values())
        return max(0.0, (first - time.monotonic()) * 1000 + 0.5)

    def _register(self, fd: int) -> None:
        mask = 0
        for event in self._watched[fd]:
            mask |= event
        self._poll.register(fd, mask)
