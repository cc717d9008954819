"""The caches of a build, and its account: the engine's side, which loads little where all hits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from builder.dockerfile.parser import Dockerfile
from builder.engine.cache import StoreCache
from builder.engine.inputs import Inputs
from builder.engine.observer import Observer
from builder.engine.request import BuildRequest
from builder.events import Warned
from builder.executors.worker import Worker
from builder.graph.vertex import Vertex
from builder.oci.digest import Digest
from builder.solver.protocols import Cache
from builder.solver.solver import Solver

if TYPE_CHECKING:
    from builder.engine.local import LocalEngine


class Accounting:
    """What one build looks results up in, and what it can say about that afterwards."""

    def __init__(self, engine: "LocalEngine", request: BuildRequest, observer: Observer) -> None:
        """Open the caches that the request names."""
        self._engine = engine
        self._request = request
        self._observer = observer
        self._lookups: list[tuple[Digest, str, bool]] = []
        self.cache: Cache = self._opened()
        self.worker: Worker | None = None
        self.solver: Solver | None = None
        self.report = ""
        """The answer to `--explain`."""
        self.note = ""
        """Why the first step that ran did, if the project had been built before."""

    def _opened(self) -> Cache:
        """Open the caches in the order in which they are asked."""
        own = StoreCache(self._engine.store)
        sources = self._request.cache_from
        if not sources and not self._request.explain and not self._engine.settings.is_debug:
            return own
        from builder.engine.carried_cache import CacheChain
        from builder.engine.carrying import open_caches

        return CacheChain(own, open_caches(self._engine, sources), self._note)

    def _note(self, key: Digest, place: str, is_found: bool) -> None:  # noqa: FBT001 - a callback
        self._lookups.append((key, place, is_found))

    def _told_lookups(self) -> list[str]:
        """Write every look-up, by the step's name where the key was its fast one."""
        fast = {} if self.solver is None else self.solver.fast
        names = {key: vertex.name for vertex, key in fast.items()}
        return [
            f"{names.get(key, 'by content')} ({key[7:19]}) in {place}: "
            f"{'found' if is_found else 'no record'}"
            for key, place, is_found in self._lookups
        ]

    def write_caches(self, roots: Sequence[Vertex]) -> None:
        """Write the caches that the request names, after the build."""
        if self._request.cache_to and self.solver is not None:
            from builder.engine.carrying import write_caches

            write_caches(self._engine, self._request.cache_to, roots, self.solver.fast)

    @contextmanager
    def kept(self, dockerfile: Dockerfile, inputs: Inputs) -> Iterator[None]:
        """Keep the account of the solving inside, whether it ends well or not."""
        try:
            yield
        except BaseException:
            self._close(dockerfile, inputs)
            text = self.report if self._request.explain == "text" else self.note
            if text:
                self._engine.sink(Warned(text))
            raise
        self._close(dockerfile, inputs)

    def _close(self, dockerfile: Dockerfile, inputs: Inputs) -> None:
        explain = self._request.explain
        if self._engine.settings.is_debug:
            for text in self._told_lookups():
                self._engine.warn(f"look-up: {text}")
        if self.solver is None or self.worker is None or not self.solver.fast:
            return
        if not (self._observer.has_run or explain):
            return
        from builder.engine import account

        made = account.Account(self._engine.store, self._request, self._observer)
        made.close(self.solver.fast, dockerfile, inputs.trees, self.worker.listings)
        if explain == "json":
            self.report = account.as_json(made.reports, self._told_lookups())
        elif explain:
            self.report = account.rendered(made.reports, self._told_lookups())
        elif made.was_built_before:
            self.note = account.first_miss(made.reports)
