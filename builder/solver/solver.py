"""Solve a graph for one target: look up, and execute only what no record answers.

One thread, the caller's, owns the state of every vertex; a pool does the work and reports back on
one queue. A vertex is asked for by its fast key first; where the answer takes long, in the pool. On
a miss its inputs are demanded, all at once; when they are there it is asked for by its slow key,
and executed if that misses too.
"""

import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from builder.concurrency import CancelToken, Pool
from builder.errors import BuilderError, Cancelled
from builder.events import Cached, Failed, Finished, Sink, Started
from builder.graph.ops import Context, Image, Scratch
from builder.graph.vertex import Vertex
from builder.graph.walk import topological, unified
from builder.oci.digest import Digest
from builder.solver.keys import fast_keys, located, slow_key, step_identity
from builder.solver.protocols import Cache, Result, Worker

_Completion = tuple[Vertex, Result | BaseException | None]
"""A vertex, and what came of it; None is a miss of its fast key."""


class Solver:
    """Solves graphs with one cache, one worker and one pool; single-threaded from outside."""

    def __init__(
        self, cache: Cache, worker: Worker, *, pool: Pool, sink: Sink, token: CancelToken
    ) -> None:
        """Keep the collaborators; all are owned by the caller."""
        self._cache = cache
        self._worker = worker
        self._pool = pool
        self._sink = sink
        self._token = token
        self.fast: dict[Vertex, Digest] = {}
        """After a solve, however it ended: the graph's vertices, inputs first, and their fast keys.
        Empty if not even the keys could be computed."""

    def solve(self, targets: Sequence[Vertex]) -> list[Result]:
        """Return the targets' results; raise the first step's error after all work has ended."""
        run = _Run(self._cache, self._worker, self._pool, self._sink, self._token)
        try:
            return run.solve(targets)
        finally:
            self.fast = run.fast


class _Run:
    """The state of one solve. Only `_resolve` and what it calls run outside the caller's thread."""

    def __init__(
        self, cache: Cache, worker: Worker, pool: Pool, sink: Sink, token: CancelToken
    ) -> None:
        self._cache = cache
        self._worker = worker
        self._pool = pool
        self._sink = sink
        self._token = token
        self._results: dict[Vertex, Result] = {}
        self._missing: dict[Vertex, int] = {}
        self._users: dict[Vertex, list[Vertex]] = {}
        self._announced: set[Vertex] = set()
        self._completions: SimpleQueue[_Completion] = SimpleQueue()
        self._running = 0
        self._error: BaseException | None = None
        self.fast: dict[Vertex, Digest] = {}
        self._bypassing: set[Vertex] = set()
        self._tainted: set[Vertex] = set()

    def solve(self, targets: Sequence[Vertex]) -> list[Result]:
        targets = unified(targets)
        order = topological(targets)
        self.fast = fast_keys(order, self._worker)
        self._mark_ignored(order)
        for target in targets:
            self._demand(target)
        while self._running:
            self._complete(*self._completions.get())
        if self._error is not None:
            raise self._error
        return [self._results[target] for target in targets]

    def _mark_ignored(self, order: Sequence[Vertex]) -> None:
        """Find what may not be looked up: steps told so, and steps that stand on such a one.

        A step that only reads selected paths of an ignoring one may still hit by its slow key.
        """
        for vertex in order:
            parents = [i.vertex for i in vertex.inputs]
            lineage = [i.vertex for i in vertex.inputs if i.selectors is None]
            if vertex.is_ignoring_cache or any(p in self._bypassing for p in lineage):
                self._bypassing.add(vertex)
            if vertex in self._bypassing or any(p in self._tainted for p in parents):
                self._tainted.add(vertex)

    def _demand(self, target: Vertex) -> None:
        stack = [target]
        while stack:
            vertex = stack.pop()
            if vertex in self._results or vertex in self._missing or self._find_fast(vertex):
                continue
            stack += self._await_inputs(vertex)

    def _await_inputs(self, vertex: Vertex) -> list[Vertex]:
        """Let a vertex wait for its inputs, or start it; give the inputs that it needs."""
        waiting = 0
        for parent in {i.vertex for i in vertex.inputs}:
            if parent not in self._results:
                self._users.setdefault(parent, []).append(vertex)
                waiting += 1
        self._missing[vertex] = waiting
        if waiting:
            return list(dict.fromkeys(i.vertex for i in reversed(vertex.inputs)))
        self._submit(vertex)
        return []

    def _find_fast(self, vertex: Vertex) -> bool:
        """Look a vertex up by its fast key; True if it is found, or looked for in the pool."""
        if isinstance(vertex.op, Context):
            self._finish(vertex, Result(self.fast[vertex], context=vertex.op.name))
            return True
        if vertex in self._tainted or isinstance(vertex.op, Image | Scratch):
            return False
        if self._cache.is_far(self.fast[vertex]):
            self._missing[vertex] = 1
            self._running += 1
            self._pool.submit(self._report, vertex, lambda: self._find(vertex))
            return True
        found = self._find(vertex)
        if found is None:
            return False
        self._announce_cached(vertex)
        self._finish(vertex, found)
        return True

    def _find(self, vertex: Vertex) -> Result | None:
        found = self._cache.find(self.fast[vertex])
        return None if found is None else found._replace(is_cached=True)

    def _finish(self, vertex: Vertex, result: Result) -> None:
        self._results[vertex] = result
        for user in self._users.pop(vertex, ()):
            self._missing[user] -= 1
            if self._missing[user] == 0:
                self._submit(user)

    def _submit(self, vertex: Vertex) -> None:
        if self._error is not None:
            return
        self._running += 1
        inputs = [self._results[i.vertex] for i in vertex.inputs]
        self._pool.submit(
            self._report, vertex, lambda: located(vertex, lambda: self._resolve(vertex, inputs))
        )

    def _complete(self, vertex: Vertex, outcome: Result | BaseException | None) -> None:
        self._running -= 1
        if outcome is None:
            if self._error is None:
                for needed in self._await_inputs(vertex):
                    self._demand(needed)
            return
        if isinstance(outcome, BaseException):
            if self._error is None or isinstance(self._error, Cancelled):
                self._error = outcome
            self._token.cancel()
            return
        if outcome.is_cached:
            self._announce_cached(vertex)
        self._announced.add(vertex)
        self._finish(vertex, outcome)

    def _announce_cached(self, vertex: Vertex) -> None:
        """Report a hit, and every step below it that therefore need not be looked at."""
        for skipped in topological([vertex]):
            if skipped not in self._announced and skipped not in self._missing:
                self._announced.add(skipped)
                if not isinstance(skipped.op, Context | Scratch):
                    self._sink(Cached(skipped.digest, skipped.name))
        if vertex not in self._announced:
            self._announced.add(vertex)
            self._sink(Cached(vertex.digest, vertex.name))

    def _report(self, vertex: Vertex, work: Callable[[], Result | None]) -> None:
        """Run in the pool: never raises, reports to the queue exactly once."""
        outcome: Result | BaseException | None
        try:
            self._token.check()
            outcome = work()
        except BaseException as error:  # noqa: BLE001 - the task's boundary; solve() raises it
            outcome = error
        self._completions.put((vertex, outcome))

    def _resolve(self, vertex: Vertex, inputs: list[Result]) -> Result:
        if isinstance(vertex.op, Image | Scratch):
            made = self._execute(vertex, inputs)
            self._tell_finished(vertex)
            return made._replace(key=self.fast[vertex])
        slow, parts = slow_key(vertex, inputs, self._worker)
        with self._cache.locked(slow, self._token):
            found = None if vertex in self._bypassing else self._cache.find(slow)
            if found is not None:
                result = found._replace(is_cached=True)
            else:
                result = self._execute(vertex, inputs)._replace(key=slow)
            self._cache.save(
                self.fast[vertex],
                result,
                step=step_identity(vertex),
                name=vertex.name,
                parts=parts,
            )
        if found is None:
            self._tell_finished(vertex)  # what was told to be done is not done again, come what may
        return result

    def _execute(self, vertex: Vertex, inputs: list[Result]) -> Result:
        if not isinstance(vertex.op, Scratch):
            self._sink(Started(vertex.digest, vertex.name, time.monotonic_ns()))
        try:
            result = self._worker.execute(vertex, inputs, self._token)
        except BuilderError as error:
            self._sink(Failed(vertex.digest, error.what, time.monotonic_ns()))
            raise
        except BaseException:
            self._sink(Failed(vertex.digest, "internal error", time.monotonic_ns()))
            raise
        return result

    def _tell_finished(self, vertex: Vertex) -> None:
        if not isinstance(vertex.op, Scratch):
            self._sink(Finished(vertex.digest, time.monotonic_ns()))
