"""The caches of a build, and its account: the engine's side, which loads little where all hits."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from builder.concurrency import Pool
from builder.dockerfile.parser import Dockerfile
from builder.engine.assemble import Solved
from builder.engine.bases import BaseImages
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
    from builder.engine.carrying import Carrier
    from builder.engine.local import LocalEngine

_CONNECTIONS = 4


class Accounting:
    """What one build looks results up in, and what it can say about that afterwards."""

    def __init__(
        self,
        engine: "LocalEngine",
        request: BuildRequest,
        observer: Observer,
        bases: BaseImages,
        stack: ExitStack,
    ) -> None:
        """Name the caches; `bases` lend their registries, the stack ends what is fetched."""
        self._engine = engine
        self._request = request
        self._observer = observer
        self._bases = bases
        self._stack = stack
        self._made_carrier: Carrier | None = None
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

        # steps that look nothing up would not wait for the cache mounts that travel with a cache
        is_early = self._request.is_cache_ignored or bool(self._request.ignored_stages)
        others = self._carrier.opened(sources, is_early=is_early) if sources else []
        return CacheChain(own, others, self._note)

    @property
    def _carrier(self) -> "Carrier":
        if self._made_carrier is None:
            from builder.engine.carrying import Carrier

            pool = self._stack.enter_context(Pool(_CONNECTIONS))
            self._made_carrier = Carrier(self._bases, pool)
        return self._made_carrier

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

    def inlined(self, solved: list[Solved]) -> list[Solved]:
        """Put the cache of the final layers into the images' configs, if the request wants it."""
        if not self._request.wants_inline_cache or self.solver is None:
            return solved
        outputs = self._request.outputs
        if self._request.is_squashed:
            self._engine.warn("a squashed image carries no cache: the steps' layers are not in it")
            return solved
        if outputs and not any(output.needs_layers for output in outputs):
            self._engine.warn("no image is written that could carry the cache")
            return solved
        from builder.engine.inlining import with_inline_cache

        store, fast, elsewhere = self._engine.store, self.solver.fast, self._carrier.elsewhere
        return [with_inline_cache(store, one, fast, elsewhere) for one in solved]

    def write_caches(self, roots: Sequence[Vertex]) -> None:
        """Write the caches that the request names, after the build; raise BuilderError."""
        if self._request.cache_to and self.solver is not None:
            self._carrier.write(self._request.cache_to, roots, self.solver.fast)

    @contextmanager
    def kept_if_failed(self, dockerfile: Dockerfile, inputs: Inputs) -> Iterator[None]:
        """Keep the account of the solving inside, and show it, if that fails."""
        try:
            yield
        except BaseException:
            self.close(dockerfile, inputs)
            text = self.report if self._request.explain == "text" else self.note
            if text:
                self._engine.sink(Warned(text))
            raise

    def close(self, dockerfile: Dockerfile, inputs: Inputs) -> None:
        """Keep the account of the solving; may be called from any thread."""
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
        made.close(self.solver.fast, dockerfile, inputs.trees, self.worker.briefs)
        if explain == "json":
            self.report = account.as_json(made.reports, self._told_lookups())
        elif explain:
            self.report = account.rendered(made.reports, self._told_lookups())
        elif made.was_built_before:
            self.note = account.first_miss(made.reports)
