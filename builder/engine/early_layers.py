"""Layers of a build's image that are written while its later steps run.

One thread writes them, in the order in which the steps end. A step waits for a process most of its
time, so that what is compressed meanwhile costs the build little; and when the last step has ended,
its layer is all that is left to write. Whether the build succeeds is not known yet: what was
written in vain is part of the cache.
"""

from collections.abc import Iterable
from typing import Self

from builder.concurrency import CancelToken, Pool, Task
from builder.dockerfile.lower import Lowered
from builder.engine.forerunner import is_processor_spare
from builder.exporters.output import Output
from builder.graph.vertex import Vertex
from builder.oci.media import Compression
from builder.store.store import Store

WORTH_S = 0.1
"""How long a step must have taken for its layer to be worth a thread."""


class EarlyLayers:
    """Writes layers as they come; a context manager that ends what is still being written."""

    def __init__(self, store: Store, output: Output | None, lowered: Iterable[Lowered]) -> None:
        """Write the layers of some images as an output wants them; without one, none.

        The layer above which nothing runs is left to the export, and so are all where no processor
        is to spare.
        """
        self._store = store
        self._token = CancelToken()
        self._pool = Pool(1)
        self._tasks: list[Task] = []
        self._compression: Compression = "gzip"
        self._level: int | None = None
        self._wanted: frozenset[Vertex] = frozenset()
        if output is not None and is_processor_spare():
            self._compression = output.compression or "gzip"
            self._level = output.compression_level
            self._wanted = frozenset(v for one in lowered for v in one.layers[:-1])

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_exc: object) -> None:
        """End what is not wanted any more."""
        self._token.cancel()
        self._pool.__exit__()

    def begin(self, vertex: Vertex, snapshot: int | None, took_s: float) -> None:
        """Hear of a step's result, and what time it took; may be called from any thread.

        What took no time wrote little: then the steps behind it would rather have the interpreter.
        """
        if snapshot is not None and vertex in self._wanted and took_s >= WORTH_S:
            self._tasks.append(self._pool.submit(self._write, snapshot))

    def wait(self) -> None:
        """Wait for what was begun. The export tells of whatever went wrong, as it tries again."""
        for task in self._tasks:
            task.wait()

    def _write(self, snapshot: int) -> None:
        self._token.check()
        found = self._store.snapshots.get(snapshot)
        self._store.layers.ensure(found, self._compression, self._level, token=self._token)
