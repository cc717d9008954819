"""What a build reports while it works: plain values, sent to whoever listens.

A sink is a callable that takes one event, returns at once, and may be called from any thread.
Times are monotonic nanoseconds.
"""

from collections.abc import Callable
from typing import Literal

from builder.values import NamedTuple


class Started(NamedTuple):
    """A step begins; `name` is its line in the progress display, such as `[build 2/4] RUN make`."""

    step: str
    name: str
    time_ns: int


class Cached(NamedTuple):
    """A step's result was already known."""

    step: str
    name: str


class Log(NamedTuple):
    """Output of a running step, in the pieces it was written in."""

    step: str
    stream: Literal["stdout", "stderr"]
    chunk: bytes
    time_ns: int


class Progress(NamedTuple):
    """How far a transfer has come; `total` is 0 while unknown. Units: bytes."""

    step: str
    item: str
    current: int
    total: int


class Warned(NamedTuple):
    """Something the user should know, outside of any failure; `text` may have several lines."""

    text: str


class Finished(NamedTuple):
    """A step ended well."""

    step: str
    time_ns: int


class Failed(NamedTuple):
    """A step ended badly, or was cancelled by another's failure."""

    step: str
    what: str
    time_ns: int


Event = Started | Cached | Log | Progress | Warned | Finished | Failed
Sink = Callable[[Event], None]


def discard(_event: Event) -> None:
    """Listen to nothing."""
