"""The solver against a scripted worker and a dictionary for a cache."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from builder.concurrency import CancelToken, Pool
from builder.errors import BuilderError, NotFound, StepFailed
from builder.events import Cached, Event, Finished
from builder.graph.ops import Context, Copy, Exec, Files, Scratch
from builder.graph.vertex import Input, Selector, Vertex
from builder.oci.digest import Digest, key
from builder.solver.protocols import KeyPart, Result
from builder.solver.solver import Solver
from builder.source import Position, Source, Span


class DictCache:
    def __init__(self) -> None:
        self.records: dict[Digest, Result] = {}
        self._locks: dict[Digest, threading.Lock] = {}

    def is_far(self, key: Digest) -> bool:
        del key
        return False

    def find(self, key: Digest) -> Result | None:
        return self.records.get(key)

    def save(
        self, fast: Digest, result: Result, *, step: Digest, name: str, parts: Sequence[KeyPart]
    ) -> None:
        del step, name, parts
        self.records[fast] = self.records[result.key] = result

    @contextmanager
    def locked(self, key: Digest, token: CancelToken) -> Iterator[None]:
        del token
        with self._locks.setdefault(key, threading.Lock()):
            yield


class FarCache(DictCache):
    """Knows only what takes long to find; remembers which threads looked."""

    def __init__(self) -> None:
        super().__init__()
        self.lookers: set[int] = set()

    def is_far(self, key: Digest) -> bool:
        del key
        return True

    def find(self, key: Digest) -> Result | None:
        self.lookers.add(threading.get_ident())
        return super().find(key)


class ScriptedWorker:
    """Runs `Exec` by looking argv up in a script; contexts are dictionaries of contents."""

    def __init__(self, context: dict[str, str], script: dict[str, str]) -> None:
        self.context = context
        self.script = script
        self.trees: dict[int, str] = {}
        self.executed: list[str] = []

    def context_content(self, vertex: Vertex, selectors: Sequence[Selector]) -> Digest:
        del vertex
        return key("content", *(self.context[s.path] for s in selectors))

    def content(self, result: Result, selectors: Sequence[Selector]) -> Digest:
        if result.context is not None:
            return key("content", *(self.context[s.path] for s in selectors))
        assert result.snapshot is not None
        return key("content", self.trees[result.snapshot])

    def execute(self, vertex: Vertex, inputs: Sequence[Result], token: CancelToken) -> Result:
        del inputs
        token.check()
        snapshot = len(self.trees) + 1
        match vertex.op:
            case Exec(argv=(command,)):
                self.executed.append(command)
                if self.script.get(command) == "fail":
                    raise StepFailed(command, status=1, log="")
                self.trees[snapshot] = self.script.get(command, command)
            case Files():
                self.executed.append(vertex.name)
                self.trees[snapshot] = vertex.name
            case _:
                self.trees[snapshot] = ""
        return Result(key("none"), snapshot)


def run(command: str, parent: Vertex) -> Vertex:
    return Vertex(Exec((command,), ()), (Input(parent),), name=f"RUN {command}")


def copy(path: str, source: Vertex, onto: Vertex) -> Vertex:
    action = Copy(1, path, "/")
    selectors = (Selector(path),)
    return Vertex(Files((action,)), (Input(onto), Input(source, selectors)), name=f"COPY {path}")


def solve(
    target: Vertex, cache: DictCache, worker: ScriptedWorker, events: list[Event] | None = None
) -> Result:
    sink = [] if events is None else events
    with Pool(4) as pool:
        solver = Solver(cache, worker, pool=pool, sink=sink.append, token=CancelToken())
        return solver.solve([target])[0]


def test_an_unchanged_build_executes_nothing() -> None:
    cache, worker = DictCache(), ScriptedWorker({"src": "1"}, {})
    target = run("make", copy("src", Vertex(Context("c")), Vertex(Scratch())))
    first = solve(target, cache, worker)
    worker.executed.clear()

    second = solve(target, cache, worker)

    assert worker.executed == []
    assert second.snapshot == first.snapshot
    assert second.is_cached


def test_a_step_is_told_to_be_done_when_its_record_is_kept() -> None:
    cache, worker = DictCache(), ScriptedWorker({}, {})
    target = run("make", run("prepare", Vertex(Scratch())))
    kept: dict[str, int] = {}

    def sink(event: Event) -> None:
        if isinstance(event, Finished):
            kept[event.step] = len({result.snapshot for result in cache.records.values()})

    with Pool(4) as pool:
        Solver(cache, worker, pool=pool, sink=sink, token=CancelToken()).solve([target])

    assert list(kept.values()) == [1, 2]


def test_what_takes_long_to_find_is_looked_for_in_the_pool() -> None:
    cache, worker = FarCache(), ScriptedWorker({"src": "1"}, {})
    base = run("deps", Vertex(Scratch()))
    target = run("make", copy("src", Vertex(Context("c")), base))
    first, events = solve(target, cache, worker), list[Event]()
    worker.executed.clear()

    second = solve(target, cache, worker, events)

    assert worker.executed == []
    assert second.snapshot == first.snapshot
    assert threading.get_ident() not in cache.lookers
    assert len(events) == len({event.step for event in events if isinstance(event, Cached)}) == 3


def test_steps_that_share_an_input_look_for_it_once_in_the_pool() -> None:
    cache, worker = FarCache(), ScriptedWorker({}, {})
    shared = run("shared", Vertex(Scratch()))
    target = copy("x", run("left", shared), run("right", shared))

    solve(target, cache, worker)

    assert sorted(worker.executed) == ["COPY x", "left", "right", "shared"]


def test_a_changed_context_file_rebuilds_what_reads_it() -> None:
    cache, worker = DictCache(), ScriptedWorker({"src": "1"}, {})
    base = run("deps", Vertex(Scratch()))
    target = run("make", copy("src", Vertex(Context("c")), base))
    solve(target, cache, worker)
    worker.executed.clear()
    worker.context["src"] = "2"

    solve(target, cache, worker)

    assert worker.executed == ["COPY src", "make"]


def test_a_rebuilt_stage_with_the_same_artifact_lets_later_steps_hit() -> None:
    cache, worker = DictCache(), ScriptedWorker({}, {"old": "binary", "new": "binary"})

    def target(command: str) -> Vertex:
        stage = run(command, Vertex(Scratch()))
        return run("test", copy("/out", stage, Vertex(Scratch())))

    solve(target("old"), cache, worker)
    worker.executed.clear()

    solve(target("new"), cache, worker)

    assert worker.executed == ["new"]


def test_a_failing_step_is_raised_and_later_ones_do_not_run() -> None:
    cache, worker = DictCache(), ScriptedWorker({}, {"bad": "fail"})
    target = run("after", run("bad", Vertex(Scratch())))

    with pytest.raises(BuilderError, match="bad"):
        solve(target, cache, worker)

    assert worker.executed == ["bad"]


def test_a_step_that_ignores_the_cache_takes_its_successors_along() -> None:
    cache, worker = DictCache(), ScriptedWorker({}, {})
    solve(run("b", run("a", Vertex(Scratch()))), cache, worker)
    worker.executed.clear()
    forced = Vertex(
        Exec(("a",), ()), (Input(Vertex(Scratch())),), name="RUN a", is_ignoring_cache=True
    )

    solve(run("b", forced), cache, worker)

    assert worker.executed == ["a", "b"]


def test_ignoring_the_cache_in_one_stage_keeps_hits_by_content_in_another() -> None:
    cache, worker = DictCache(), ScriptedWorker({}, {"make": "binary"})

    def target(*, is_forced: bool) -> Vertex:
        stage = Vertex(
            Exec(("make",), ()),
            (Input(Vertex(Scratch())),),
            name="RUN make",
            is_ignoring_cache=is_forced,
        )
        return run("test", copy("/out", stage, Vertex(Scratch())))

    solve(target(is_forced=False), cache, worker)
    worker.executed.clear()

    solve(target(is_forced=True), cache, worker)

    assert worker.executed == ["make"]


def test_every_step_of_a_cached_build_is_reported_once() -> None:
    cache, worker = DictCache(), ScriptedWorker({}, {})
    target = run("b", run("a", Vertex(Scratch())))
    solve(target, cache, worker)
    events: list[Event] = []

    solve(target, cache, worker, events)

    assert [e.name for e in events if isinstance(e, Cached)] == ["RUN a", "RUN b"]


def test_a_chain_of_thousands_of_steps_needs_no_recursion() -> None:
    cache, worker = DictCache(), ScriptedWorker({}, {})
    vertex = Vertex(Scratch())
    for number in range(3000):
        vertex = run(str(number), vertex)

    solve(vertex, cache, worker)

    assert len(worker.executed) == 3000


class MissingWorker(ScriptedWorker):
    """Has none of the files it is asked for."""

    def context_content(self, vertex: Vertex, selectors: Sequence[Selector]) -> Digest:
        del vertex
        raise NotFound(f"{selectors[0].path}: not found")


def test_of_several_missing_files_the_last_is_named_where_it_is_first_missed() -> None:
    source = Source("Dockerfile", "\n" * 9)
    context = Vertex(Context("context"))
    root = Vertex(Scratch())
    for line, path in ((1, "/a"), (2, "/b"), (3, "/b")):
        span = Span(source, Position(line, 1), Position(line, 2))
        inputs = (Input(root), Input(context, (Selector(path),)))
        root = Vertex(Files((Copy(1, path, f"/{line}"),)), inputs, span=span)

    events: list[Event] = []
    with Pool(1) as pool:
        solver = Solver(
            DictCache(), MissingWorker({}, {}), pool=pool, sink=events.append, token=CancelToken()
        )
        with pytest.raises(NotFound) as caught:
            solver.solve([root])

    assert caught.value.span is not None
    assert caught.value.span.start.line == 2
