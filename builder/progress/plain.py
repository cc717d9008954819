"""Progress as plain lines, each with its step's number: for logs, pipes and patient readers."""

import threading
from collections.abc import Iterator

from builder.events import Cached, Event, Failed, Finished, Log, Progress, Started, Warned
from builder.progress.steps import Step, Steps
from builder.progress.text import RESET, seconds, shown, size
from builder.progress.writer import Writer
from builder.text import visible, visible_lines

REPORT_INTERVAL_NS = 5_000_000_000
_RED, _GREEN, _YELLOW = "\x1b[31m", "\x1b[32m", "\x1b[33m"


class Plain:
    """A sink that writes lines. Safe to call from any thread; never waits for the reader."""

    def __init__(self, writer: Writer, *, has_colours: bool) -> None:
        """Write to a writer that the caller closes after `close`."""
        self._writer = writer
        self._has_colours = has_colours
        self._steps = Steps()
        self._lock = threading.Lock()
        self._reported: dict[tuple[str, str], int] = {}
        self._now_ns = 0

    def __call__(self, event: Event) -> None:
        """Write the lines of an event."""
        with self._lock:
            text = "".join(f"{line}\n" for line in self._lines(event))
        if text:
            self._writer.write(
                text.encode("utf-8", "backslashreplace"), is_log=isinstance(event, Log)
            )

    def close(self) -> None:
        """Nothing is kept back."""

    def _lines(self, event: Event) -> Iterator[str]:
        match event:
            case Started(step, name, time_ns):
                begun = self._steps.begin(step, name, time_ns)
                yield f"#{begun.number} {visible(name)}"
            case Cached(step, name):
                begun = self._steps.begin(step, name, self._now_ns)
                yield f"#{begun.number} {visible(name)}"
                yield from (f"#{begun.number} {self._coloured('CACHED', _GREEN)}", "")
            case Log(step, stream, chunk, time_ns):
                known = self._at(step, time_ns)
                for line in known.lines(stream).take(chunk):
                    yield self._log(known, line, time_ns)
            case Progress():
                yield from self._progress(event)
            case Warned(text):
                yield f"{self._coloured('warning:', _YELLOW)} {visible_lines(text)}"
            case Finished(step, time_ns):
                yield from self._ended(step, time_ns, "DONE")
            case Failed(step, what, time_ns):
                yield from self._ended(step, time_ns, f"ERROR: {visible(what)}")

    def _at(self, step: str, time_ns: int) -> Step:
        self._now_ns = max(self._now_ns, time_ns)
        return self._steps.find(step, time_ns)

    def _log(self, step: Step, line: bytes, time_ns: int) -> str:
        elapsed_s = max(0, time_ns - step.started_ns) / 1e9
        return f"#{step.number} {elapsed_s:.3f} {shown(line, has_colours=self._has_colours)}"

    def _ended(self, name: str, time_ns: int, end: str) -> Iterator[str]:
        step = self._at(name, time_ns)
        for stream in step.streams.values():
            for line in stream.end():
                yield self._log(step, line, time_ns)
        if end == "DONE":
            yield f"#{step.number} DONE {seconds(time_ns - step.started_ns)}"
        else:
            yield f"#{step.number} {self._coloured(end, _RED)}"
        yield ""

    def _progress(self, event: Progress) -> Iterator[str]:
        """Report a transfer's end, and where it is every few seconds."""
        step = self._steps.find(event.step, self._now_ns)
        key = (event.step, event.item)
        if event.total and event.current >= event.total:
            if self._reported.get(key) != -1:
                self._reported[key] = -1
                yield f"#{step.number} {visible(event.item)} {size(event.total)} done"
            return
        import time

        now = time.monotonic_ns()
        if now - self._reported.setdefault(key, now) >= REPORT_INTERVAL_NS:
            self._reported[key] = now
            whole = f" / {size(event.total)}" if event.total else ""
            yield f"#{step.number} {visible(event.item)} {size(event.current)}{whole}"

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{RESET}" if self._has_colours else text
