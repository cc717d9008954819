"""Progress on a terminal: finished steps scroll by, running ones keep a window at the bottom.

The window shows steps that run for half a second or longer, with their transfers and last log
lines; until then nothing is drawn and tqdm is not even imported. Every picture is made for the
terminal's size at that moment, so resizing heals itself.
"""

import os
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Iterator

from builder.events import Cached, Event, Failed, Finished, Log, Progress, Started, Warned
from builder.progress.steps import Step, Steps
from builder.progress.text import RESET, seconds, shown
from builder.progress.writer import Writer
from builder.text import visible, visible_lines

PATIENCE_NS = 500_000_000
REDRAW_S = 0.1
WINDOW_LINES = 6
MAX_STEPS = 8
MAX_BARS = 4
_RED, _GREEN, _YELLOW, _FAINT = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m"
_CLEAR_BELOW = "\x1b[J"


class Running(Step):
    """A running step with the last lines of its output."""

    def __init__(self, step: Step) -> None:
        """Take a step's number and name over."""
        super().__init__(step.number, step.name, step.started_ns)
        self.window: deque[bytes] = deque(maxlen=WINDOW_LINES)


class Terminal:
    """A sink that draws. Safe to call from any thread; `close` leaves a tidy screen."""

    def __init__(self, writer: Writer, descriptor: int, *, has_colours: bool) -> None:
        """Draw by a writer that the caller closes; `descriptor` is asked for its size."""
        self._writer = writer
        self._descriptor = descriptor
        self._has_colours = has_colours
        self._steps = Steps()
        self._running: dict[str, Running] = {}
        self._picture: list[str] = []
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def __call__(self, event: Event) -> None:
        """Take an event in, and draw what stays of it."""
        with self._changed:
            lines = list(self._take(event))
            if lines:
                picture = self._wanted(time.monotonic_ns()) if self._picture else []
                self._draw(lines, picture)
            if self._running and self._thread is None and not self._is_closing:
                self._thread = threading.Thread(target=self._redraw, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop drawing and clear the window."""
        with self._changed:
            self._is_closing = True
            self._running.clear()
            if self._picture:
                self._draw([], [])
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _take(self, event: Event) -> Iterator[str]:
        """Take an event in; give the lines that stay on the screen."""
        match event:
            case Started(step, name, time_ns):
                self._running[step] = Running(self._steps.begin(step, name, time_ns))
            case Cached(step, name):
                self._running.pop(step, None)
                number = self._steps.begin(step, name, 0).number
                yield f"#{number} {visible(name)} {self._coloured('CACHED', _GREEN)}"
            case Log(step, stream, chunk, _):
                if step in self._running:
                    running = self._running[step]
                    running.window.extend(running.lines(stream).take(chunk))
            case Progress(step, item, current, total):
                if step in self._running:
                    self._running[step].items[item] = (current, total)
            case Warned(text):
                yield f"{self._coloured('warning:', _YELLOW)} {visible_lines(text)}"
            case Finished(step, time_ns):
                known = self._ended(step, time_ns)
                duration = seconds(time_ns - known.started_ns)
                end = self._coloured(f"DONE {duration}", _FAINT)
                yield f"#{known.number} {visible(known.name)} {end}"
            case Failed(step, what, time_ns):
                known = self._ended(step, time_ns)
                yield f"#{known.number} {visible(known.name)}"
                yield f"#{known.number} {self._coloured(f'ERROR: {visible(what)}', _RED)}"

    def _ended(self, step: str, time_ns: int) -> Step:
        self._running.pop(step, None)
        return self._steps.find(step, time_ns)

    def _redraw(self) -> None:
        """Draw anew every moment, until closed."""
        with self._changed:
            while not self._is_closing:
                picture = self._wanted(time.monotonic_ns())
                if picture or self._picture:
                    self._draw([], picture)
                self._changed.wait(REDRAW_S)

    def _wanted(self, now_ns: int) -> list[str]:
        """Make the picture of the steps that run for long enough."""
        slow = [s for s in self._running.values() if now_ns - s.started_ns >= PATIENCE_NS]
        if not slow:
            return []
        columns, rows = self._size()
        window = WINDOW_LINES if len(slow) == 1 else WINDOW_LINES // 2
        lines: list[str] = []
        for step in slow[:MAX_STEPS]:
            elapsed = seconds(now_ns - step.started_ns)
            lines.append(cut(f"#{step.number} {visible(step.name)} {elapsed}", columns))
            lines += _bars(step, (now_ns - step.started_ns) / 1e9, columns)
            for line in list(step.window)[-window:]:
                text = shown(line, has_colours=False).replace("\t", "    ")
                lines.append(cut(f"   {text}", columns))
        return lines[: max(1, rows - 2)]

    def _size(self) -> tuple[int, int]:
        """Ask for the size now; the last column stays free, lest the terminal wraps."""
        try:
            columns, rows = os.get_terminal_size(self._descriptor)
        except OSError:
            columns, rows = 80, 24
        return max(10, (columns or 80) - 1), max(3, rows or 24)

    def _draw(self, lines: list[str], picture: list[str]) -> None:
        """Replace the picture on the screen by lines that stay and a new picture."""
        if not lines and picture == self._picture:
            return
        columns, _ = self._size()
        used = sum(1 + max(0, width(line) - 1) // (columns + 1) for line in self._picture)
        up = f"\x1b[{used - 1}A" if used > 1 else ""
        start = f"\r{up}{_CLEAR_BELOW}" if self._picture else ""
        stays = "".join(f"{line}\n" for line in lines)
        text = start + stays + "\n".join(picture)
        if not picture and self._picture and not lines:
            text = start
        self._picture = picture
        self._writer.write(text.encode("utf-8", "backslashreplace"))

    def _coloured(self, text: str, colour: str) -> str:
        return f"{colour}{text}{RESET}" if self._has_colours else text


def _bars(step: Running, elapsed_s: float, columns: int) -> list[str]:
    """Draw the transfers of a step that are under way."""
    under_way = [(k, v) for k, v in step.items.items() if v[1] == 0 or v[0] < v[1]]
    if not under_way:
        return []
    from tqdm import tqdm

    return [
        cut(
            "   "
            + tqdm.format_meter(
                current,
                total or None,  # type: ignore[arg-type]  # tqdm's own word for unknown
                elapsed_s,
                ncols=columns - 3,
                prefix=visible(item)[:24],
                unit="B",
                unit_scale=True,
            ),
            columns,
        )
        for item, (current, total) in under_way[:MAX_BARS]
    ]


def width(text: str) -> int:
    """Count the columns that a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def cut(text: str, columns: int) -> str:
    """Shorten a text to a number of columns."""
    if width(text) <= columns:
        return text
    used = 0
    for at, character in enumerate(text):
        used += _columns(character)
        if used > columns - 1:
            return f"{text[:at]}…"
    return text


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
