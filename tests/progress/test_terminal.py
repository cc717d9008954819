"""builder.progress.terminal on a real pseudo-terminal, read by a small screen."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
import threading
import time

from builder.events import Cached, Failed, Finished, Log, Progress, Started
from builder.progress.display import display
from builder.progress.terminal import cut, width

SEQUENCE = re.compile(r"\x1b\[(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """Just enough of a terminal: lines, carriage return, cursor up, erase below."""

    def __init__(self) -> None:
        self.lines = [""]
        self.row = 0

    def feed(self, text: str) -> None:
        for match in SEQUENCE.finditer(text):
            number, letter, control, plain = match.groups()
            if control == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif letter == "A":
                self.row -= int(number or 1)
            elif letter == "J":
                del self.lines[self.row + 1 :]
                self.lines[self.row] = ""
            elif plain:
                self.lines[self.row] += plain


class Reader(threading.Thread):
    """Reads the other side of a pseudo-terminal until it is closed."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.content = b""
        self._descriptor = descriptor
        self.start()

    def run(self) -> None:
        while True:
            try:
                content = os.read(self._descriptor, 1 << 16)
            except OSError:
                return
            if not content:
                return
            self.content += content


def terminal(columns: int = 60, rows: int = 20) -> tuple[int, Reader]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return theirs, Reader(ours)


def test_short_steps_scroll_by_without_tqdm() -> None:
    descriptor, reader = terminal()

    with display("auto", descriptor, {"TERM": "xterm"}) as sink:
        sink(Cached("a", "[1/2] FROM x"))
        sink(Started("b", "[2/2] RUN y", 0))
        sink(Log("b", "stdout", b"output\n", 5))
        sink(Finished("b", 200_000_000))
    os.close(descriptor)
    reader.join()

    screen = Screen()
    screen.feed(reader.content.decode())
    assert [line for line in screen.lines if line] == [
        "#1 [1/2] FROM x CACHED",
        "#2 [2/2] RUN y DONE 0.2s",
    ]


def test_a_long_step_has_a_window_that_goes_away() -> None:
    descriptor, reader = terminal()
    begun = time.monotonic_ns() - 1_000_000_000

    with display("tty", descriptor, {"TERM": "xterm", "NO_COLOR": "1"}) as sink:
        sink(Started("a", "[1/1] RUN \x1b[2J long", begun))
        for number in range(20):
            sink(Log("a", "stdout", b"line %d " % number + b"wide" * 30 + b"\n", begun))
        sink(Progress("a", "layer", 1_000_000, 4_000_000))
        time.sleep(0.35)
        during = reader.content.decode()
        sink(Failed("a", "exit code: 1", time.monotonic_ns()))
    os.close(descriptor)
    reader.join()

    screen = Screen()
    screen.feed(during)
    assert screen.lines[0].startswith("#1 [1/1] RUN \\x1b[2J long 1.")
    assert "25%" in screen.lines[1]
    assert [line[:10] for line in screen.lines[2:]] == [f"   line {n}" for n in range(14, 20)]
    assert all(width(line) < 60 for line in screen.lines)
    screen = Screen()
    screen.feed(reader.content.decode())
    assert [line for line in screen.lines if line] == [
        "#1 [1/1] RUN \\x1b[2J long",
        "#1 ERROR: exit code: 1",
    ]


def test_a_picture_fits_a_small_terminal() -> None:
    descriptor, reader = terminal(columns=20, rows=5)
    begun = time.monotonic_ns() - 1_000_000_000

    with display("tty", descriptor, {"TERM": "xterm"}) as sink:
        for step in "abcdef":
            sink(Started(step, "a name that is much too long", begun))
        time.sleep(0.25)
        screen = Screen()
        screen.feed(reader.content.decode())
    os.close(descriptor)
    reader.join()

    assert 1 <= len(screen.lines) <= 3
    assert all(width(line) < 20 for line in screen.lines)


def test_texts_are_cut_by_columns() -> None:
    assert cut("日本語テキスト", 7) == "日本語…"
    assert width(cut("日本語テキスト", 6)) <= 6
    assert cut("short", 10) == "short"
    assert width("e\N{COMBINING ACUTE ACCENT}") == 1


def test_tqdm_is_not_imported_with_the_module() -> None:
    import subprocess

    code = "import sys, builder.progress.terminal; print('tqdm' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert ended.stdout == "False\n"
