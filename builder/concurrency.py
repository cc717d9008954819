"""A small thread pool and a token that stops work in progress.

`concurrent.futures` imports logging (14 ms); this has what the engine needs and no more. Every
command has a token, few have threads: `threading` (2 ms) is loaded with the first of these.
"""

from _queue import SimpleQueue
from _thread import allocate_lock
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from builder.errors import Cancelled

if TYPE_CHECKING:
    import threading


class CancelToken:
    """Tells every worker that its work is no longer wanted. Once set it stays set."""

    def __init__(self) -> None:
        """Start out not cancelled."""
        self._is_cancelled = False
        self._callbacks: list[Callable[[], None]] = []
        self._lock = allocate_lock()

    @property
    def is_cancelled(self) -> bool:
        """Whether the work should stop."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Ask all workers to stop, and run the registered callbacks once."""
        with self._lock:
            if self._is_cancelled:
                return
            self._is_cancelled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Raise Cancelled if the work should stop."""
        if self._is_cancelled:
            raise Cancelled("the build was cancelled")

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back when cancelled, at once if it is already; return what unregisters it."""
        with self._lock:
            if not self._is_cancelled:
                self._callbacks.append(callback)
                return lambda: self._forget(callback)
        callback()
        return lambda: None

    def _forget(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)


class Pool:
    """Daemonless worker threads, started one by one as work arrives; a context manager.

    Leaving the context waits for the running work: there is never an orphan.
    """

    def __init__(self, size: int) -> None:
        """Allow up to `size` threads at once."""
        self._size = size
        self._work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._lock = allocate_lock()

    def __enter__(self) -> Self:
        """Return the pool itself; no thread is started yet."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """Let the queued work end, then join every thread."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> "Task":
        """Queue a call; its result or exception is kept in the returned task."""
        from threading import Thread

        task = Task(function, arguments)
        with self._lock:
            if self._idle == 0 and len(self._threads) < self._size:
                thread = Thread(target=self._run, daemon=True)
                self._threads.append(thread)
                thread.start()
            else:
                self._idle = max(0, self._idle - 1)
        self._work.put(task.run)
        return task

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            with self._lock:
                self._idle += 1


class Task:
    """One queued call and, later, its result."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """Keep the call for a worker to run."""
        self._function = function
        self._arguments = arguments
        self._running = allocate_lock()
        self._running.acquire()
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Make the call and keep what came of it; never raises."""
        try:
            self._result = self._function(*self._arguments)
        except BaseException as error:  # noqa: BLE001 - kept for result(), the task's boundary
            self._error = error
        self._running.release()

    def wait(self) -> None:
        """Wait until the call has been made, whatever came of it."""
        with self._running:
            pass

    def result(self) -> Any:
        """Wait, then return the result or raise the exception."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._result
