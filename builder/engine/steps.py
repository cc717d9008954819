"""Report the engine's own work as steps, beside those of the graph."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from builder.errors import BuilderError
from builder.events import Failed, Finished, Sink, Started
from builder.oci.digest import key

_SHOWN_DIGITS = 12


def shown_blob(digest: str) -> str:
    """Name a blob in a progress display."""
    return digest.removeprefix("sha256:")[:_SHOWN_DIGITS]


@contextmanager
def reported(sink: Sink, name: str) -> Iterator[str]:
    """Report a step around a block, and its failure if the block raises; give the step's ID."""
    step = key("internal/1", name)
    sink(Started(step, name, time.monotonic_ns()))
    try:
        yield step
    except BuilderError as error:
        sink(Failed(step, error.what, time.monotonic_ns()))
        raise
    sink(Finished(step, time.monotonic_ns()))
