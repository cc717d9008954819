"""The solver's worker: sends each operation to its executor, and hashes what others read."""

import threading
import time
from collections.abc import Callable, Sequence

from builder.concurrency import CancelToken
from builder.executors.bench import Bench
from builder.executors.sources import opened_source
from builder.graph.ops import Context, Exec, Files, Git, Http, Image, Merge, Scratch
from builder.graph.vertex import Selector, Vertex
from builder.layers.brief import Briefs, count
from builder.oci.digest import Digest, key
from builder.solver.protocols import Result

_UNSET = Digest("")
MAX_LISTED = 4000


class Worker:
    """Executes the vertices of one build at its bench."""

    def __init__(
        self,
        bench: Bench,
        follow: Callable[[Vertex, int | None, float], None] = lambda *_result: None,
    ) -> None:
        """Start with nothing hashed.

        `follow` is told what each vertex came to, and how many seconds that took.
        """
        self._bench = bench
        self._follow = follow
        self._contents: dict[tuple[int, Sequence[Selector]], Digest] = {}
        self._lock = threading.Lock()
        self.briefs: dict[Digest, Briefs] = {}
        """The files behind each digest of a snapshot's content, unless there are too many."""

    def context_content(self, vertex: Vertex, selectors: Sequence[Selector]) -> Digest:
        """Hash paths of a client directory."""
        name = vertex.op.name if isinstance(vertex.op, Context) else ""
        return self.content(Result(_UNSET, context=name), selectors)

    def content(self, result: Result, selectors: Sequence[Selector]) -> Digest:
        """Hash paths of a directory or a snapshot; the latter are remembered for this build.

        What is too large to be listed is remembered for the next ones too: snapshots never change.
        """
        if result.snapshot is None:
            return self._hashed(result, selectors)[0]
        known = result.snapshot, tuple(selectors)
        with self._lock:
            if known in self._contents:
                return self._contents[known]
        records = self._bench.store.records
        name = f"content/1 {known!r}".encode("utf-8", "surrogateescape")
        kept = records.memo(name)
        if kept is not None:
            digest = Digest(kept.decode())
        else:
            digest, briefs = self._hashed(result, selectors)
            if briefs is not None:
                self.briefs[digest] = briefs
            else:
                records.remember(name, digest.encode())
        with self._lock:
            self._contents[known] = digest
        return digest

    def _hashed(
        self, result: Result, selectors: Sequence[Selector]
    ) -> tuple[Digest, Briefs | None]:
        with opened_source(self._bench, result) as source:
            digest = key("content/1", *(source.digest(selector) for selector in selectors))
            if result.snapshot is None:
                return digest, None
            briefs = source.briefs()
        return digest, briefs if sum(map(count, briefs.values())) <= MAX_LISTED else None

    def execute(self, vertex: Vertex, inputs: Sequence[Result], token: CancelToken) -> Result:
        """Do what the vertex says; where one step runs, others are likely to."""
        if not isinstance(vertex.op, Image | Scratch):
            self._bench.zygote.wake()
        began_s = time.monotonic()
        snapshot = self._snapshot(vertex, inputs, token)
        self._follow(vertex, snapshot, time.monotonic() - began_s)
        return Result(_UNSET, snapshot)

    def _snapshot(self, vertex: Vertex, inputs: Sequence[Result], token: CancelToken) -> int | None:
        """Send an operation to its executor, which loads now: most builds need few of them."""
        snapshot: int | None = None
        match vertex.op:
            case Scratch():
                pass
            case Image():
                from builder.executors import image

                snapshot = image.execute(vertex.op, self._bench, token)
            case Files():
                from builder.executors import files

                snapshot = files.execute(vertex, vertex.op, inputs, self._bench, token)
            case Exec():
                from builder.executors import exec_

                snapshot = exec_.execute(vertex, vertex.op, inputs, self._bench, token)
            case Merge():
                from builder.executors import merge

                snapshot = merge.execute(inputs, self._bench)
            case Http():
                from builder.executors import http

                snapshot = http.execute(vertex.op, self._bench, token)
            case Git():
                from builder.executors import git

                snapshot = git.execute(vertex.op, self._bench, token)
            case Context():
                raise AssertionError("contexts are read in place")
        return snapshot
