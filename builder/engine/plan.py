"""What a build would do, without doing it: look-ups, keys, and durations of the last time.

The keys of a step that would run are known as long as they need no result that is not there yet:
what reads files of a stage that would be built anew may run or hit, and is said to.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from builder.concurrency import CancelToken, Pool
from builder.dockerfile.lower import Lowered, lower
from builder.dockerfile.parser import Dockerfile, parse
from builder.dockerfile.request import BuildRequest as LoweringRequest
from builder.dockerfile.request import Needs, Pins
from builder.engine import journal, options
from builder.engine.account import arguments_of
from builder.engine.bases import BaseImages
from builder.engine.cache import StoreCache
from builder.engine.cache_document import CachedLayer
from builder.engine.carrying import Carrier
from builder.engine.collecting import Elsewhere
from builder.engine.explain import Change, pairs, reports
from builder.engine.inputs import Inputs, open_inputs
from builder.engine.journal import Journal
from builder.engine.observer import Observer
from builder.engine.request import BuildRequest
from builder.engine.resolve import Resolver
from builder.events import discard
from builder.executors.bench import LocalContext
from builder.graph.ops import Context, Git, Http, Image, Scratch
from builder.graph.vertex import Selector, Vertex
from builder.graph.walk import topological, unified
from builder.ignore import IgnoreMatcher
from builder.layers.brief import Briefs
from builder.layers.checksum import RootTree
from builder.oci.config import chain_on
from builder.oci.descriptor import MAX_MANIFEST_BYTES, parse_manifest
from builder.oci.digest import Digest, key
from builder.solver.keys import fast_keys, slow_key
from builder.solver.protocols import Result
from builder.store.store import Store
from builder.store.unpack import find_unpacked
from builder.text import visible
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.engine.build_api import BuildUseCases

_CONNECTIONS = 4
_STDIN_FD = 0
Verdict = Literal["hit", "run", "perhaps"]


class PlannedStep(NamedTuple):
    """A step, what would become of it, why, and how long it took the last time."""

    name: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    duration_ms: int | None = None


class Fetch(NamedTuple):
    """Something that would come over the network; the size is None where nobody said it."""

    what: str
    size_bytes: int | None = None


class Plan(NamedTuple):
    """What a build would do."""

    steps: tuple[PlannedStep, ...]
    fetches: tuple[Fetch, ...]
    expected_ms: int
    """The longest chain of steps that would run, as far as their durations are known."""
    unknown: int
    """How many of the steps that would run have never been timed."""


def plan(engine: "BuildUseCases", request: BuildRequest) -> Plan:
    """Foretell a build; registries are asked for base images and caches only, as by the build."""
    with ExitStack() as stack:
        inputs = open_inputs(request, engine.store, stack, _STDIN_FD)
        dockerfile = parse(inputs.dockerfile, cache_dir=engine.store.path("parsed"))
        pool = stack.enter_context(Pool(engine.settings.jobs))
        bases = BaseImages(
            engine.store,
            engine.token,
            discard,
            is_pulling=request.is_pulling,
            is_offline=request.is_offline,
        )
        stack.enter_context(bases)
        resolver = Resolver(
            engine.store,
            pool,
            discard,
            engine.token,
            bases,
            pinning=inputs.pinning,
            is_offline=request.is_offline,
        )
        roots = [
            _lowered(dockerfile, one, resolver).root
            for one in options.lowering_requests(request, inputs, engine.platform)
        ]
        elsewhere = _elsewhere(request, bases, stack)
        forecast = _Forecast(engine.store, inputs, elsewhere, userxattr=engine.privileges.userxattr)
        forecast.look(unified(roots))
        old = journal.read(journal.journal_path(engine.store, request))
        return _plan(forecast, dockerfile, old)


def _elsewhere(request: BuildRequest, bases: BaseImages, stack: ExitStack) -> Elsewhere:
    """Open the caches that the request names, to look things up in and no more."""
    carrier = Carrier(bases, stack.enter_context(Pool(_CONNECTIONS)), has_mounts=False)
    carrier.opened(request.cache_from, is_early=False)
    return carrier.elsewhere


def _lowered(dockerfile: Dockerfile, request: LoweringRequest, resolver: Resolver) -> Lowered:
    pins = Pins()
    while isinstance(result := lower(dockerfile, request, pins), Needs):
        pins = resolver.resolve(result, pins)
    return result


class _Forecast:
    """A solver that executes nothing: it is its own worker, which can only read."""

    def __init__(
        self, store: Store, inputs: Inputs, elsewhere: Elsewhere, *, userxattr: bool
    ) -> None:
        self._store = store
        self._elsewhere = elsewhere
        self._carried: list[CachedLayer] = []
        self._cache = StoreCache(store)
        self._contexts: Mapping[str, LocalContext] = inputs.trees
        self._userxattr = userxattr
        self._ignoring: set[Vertex] = set()
        self.fast: dict[Vertex, Digest] = {}
        self.results: dict[Vertex, Result | None] = {}
        """None: not even its key is known."""
        self.verdicts: dict[Vertex, Verdict] = {}

    def look(self, roots: Sequence[Vertex]) -> None:
        """Look every step up that a build would look up."""
        order = topological(roots)
        self.fast = fast_keys(order, self)
        self._mark_ignoring(order)
        missing = self._missing(roots)
        for vertex in order:
            if vertex in missing:
                self._foretell(vertex)

    def context_content(self, vertex: Vertex, selectors: Sequence[Selector]) -> Digest:
        """Hash paths of a client directory."""
        name = vertex.op.name if isinstance(vertex.op, Context) else ""
        return self.content(Result(Digest(""), context=name), selectors)

    def content(self, result: Result, selectors: Sequence[Selector]) -> Digest:
        """Hash paths of a directory or a snapshot that exists."""
        if result.context is not None:
            tree = self._contexts[result.context].tree
            return key("content/1", *(tree.digest(selector) for selector in selectors))
        snapshots = self._store.snapshots
        snapshot = None if result.snapshot is None else snapshots.get(result.snapshot)
        with snapshots.viewed(snapshot) as fd:
            root = RootTree(fd, compile_patterns=IgnoreMatcher, userxattr=self._userxattr)
            return key("content/1", *(root.digest(selector) for selector in selectors))

    def execute(self, vertex: Vertex, inputs: Sequence[Result], token: CancelToken) -> Result:
        """Refuse: nothing is executed here."""
        raise AssertionError(f"{vertex.name} is only foretold, with {len(inputs)}, {token}")

    def _mark_ignoring(self, order: Iterable[Vertex]) -> None:
        for vertex in order:
            lineage = [i.vertex for i in vertex.inputs if i.selectors is None]
            if vertex.is_ignoring_cache or any(one in self._ignoring for one in lineage):
                self._ignoring.add(vertex)

    def _missing(self, roots: Sequence[Vertex]) -> set[Vertex]:
        """Find the steps whose fast keys have no record, from the targets down to the first hit."""
        missing: set[Vertex] = set()
        stack = list(roots)
        while stack:
            vertex = stack.pop()
            if vertex in missing or vertex in self.results:
                continue
            if isinstance(vertex.op, Context):
                self.results[vertex] = Result(self.fast[vertex], context=vertex.op.name)
                continue
            found = None
            if vertex not in self._ignoring and not isinstance(vertex.op, Image | Scratch):
                found = self._find(self.fast[vertex])
            if found is not None:
                self.results[vertex], self.verdicts[vertex] = found, "hit"
                continue
            missing.add(vertex)
            stack.extend(i.vertex for i in vertex.inputs)
        return missing

    def _find(self, key: Digest) -> Result | None:
        """Look up here, then elsewhere: what is known there is a hit whose files are not here."""
        found = self._cache.find(key)
        theirs = None if found is not None else self._elsewhere(key)
        if theirs is None:
            return found
        chain: Digest | None = None
        for one in theirs.layers:
            chain = chain_on(chain, one.layer.diff_id)
            blob = one.layer.descriptor.digest
            if self._store.layers.by_chain(chain) is None and not self._store.content.has(blob):
                self._carried.append(one)
        return Result(theirs.slow)

    def _foretell(self, vertex: Vertex) -> None:
        if isinstance(vertex.op, Image | Scratch):
            diff_ids = vertex.op.diff_ids if isinstance(vertex.op, Image) else ()
            known = find_unpacked(self._store, diff_ids)
            snapshot = None if known is None else known.id
            is_there = not diff_ids or known is not None
            self.results[vertex] = Result(self.fast[vertex], snapshot, is_cached=is_there)
            self.verdicts[vertex] = "hit" if is_there else "run"
            return
        inputs = [self._usable(one.vertex, one.selectors) for one in vertex.inputs]
        if any(one is None for one in inputs):
            self.results[vertex] = None
            self.verdicts[vertex] = "run" if vertex in self._ignoring else "perhaps"
            return
        slow, _parts = slow_key(vertex, [one for one in inputs if one is not None], self)
        found = None if vertex in self._ignoring else self._find(slow)
        self.verdicts[vertex] = "run" if found is None else "hit"
        self.results[vertex] = found or Result(slow)

    def _usable(self, vertex: Vertex, selectors: Sequence[Selector] | None) -> Result | None:
        """Give an input's result if what is needed of it is known: its key, or its files."""
        result = self.results.get(vertex)
        if result is None or selectors is None or result.context is not None:
            return result
        is_empty = isinstance(vertex.op, Scratch)
        return result if is_empty or result.snapshot is not None else None

    def briefs(self) -> dict[str, Briefs]:
        """Give the files of each context that were looked at."""
        return {name: context.tree.briefs() for name, context in self._contexts.items()}

    def fetches(self) -> list[Fetch]:
        """List what the steps that would run, or hit in caches elsewhere, need from there."""
        blobs = [one.layer.descriptor for one in dict.fromkeys(self._carried)]
        found = [Fetch(f"cache: layer {blob.digest}", blob.size_bytes) for blob in blobs]
        for vertex, verdict in self.verdicts.items():
            if verdict != "run":
                continue
            match vertex.op:
                case Image():
                    found += self._layers(vertex.op)
                case Http():
                    found.append(Fetch(vertex.op.url))
                case Git():
                    found.append(Fetch(f"{vertex.op.url}#{vertex.op.commit}"))
                case _:
                    pass
        return found

    def _layers(self, op: Image) -> list[Fetch]:
        """List the layers of an image that are neither unpacked nor stored."""
        content = self._store.content
        if not content.has(op.manifest):
            return [Fetch(op.name)]
        layers = parse_manifest(content.read(op.manifest, limit=MAX_MANIFEST_BYTES)).layers
        found, chain = [], None
        for diff_id, layer in zip(op.diff_ids, layers, strict=True):
            chain = chain_on(chain, diff_id)
            if self._store.layers.by_chain(chain) is None and not content.has(layer.digest):
                found.append(Fetch(f"{op.name}: layer {layer.digest}", layer.size_bytes))
        return found


def _plan(forecast: _Forecast, dockerfile: Dockerfile, old: Journal | None) -> Plan:
    order = list(forecast.fast)
    verdicts = [forecast.verdicts.get(vertex, "hit") for vertex in order]
    observer = Observer(discard)
    observer.hits.update(v.digest for v, x in zip(order, verdicts, strict=True) if x == "hit")
    taken = journal.taken(order, forecast.fast, observer, arguments_of(dockerfile), old)
    new = Journal(0, taken, forecast.briefs(), {} if old is None else old.roots)
    paired = {} if old is None else pairs(old.steps, taken)
    durations = [
        None if old is None or i not in paired else old.steps[paired[i]].duration_ms
        for i in range(len(order))
    ]
    forced = frozenset(i for i, vertex in enumerate(order) if vertex.is_ignoring_cache)
    outcome = {i: verdict == "hit" for i, verdict in enumerate(verdicts)}
    why = {report.name: report.changes for report in reports(old, new, outcome, forced)}
    steps = [
        PlannedStep(vertex.name, verdict, tuple(map(_reason, why.get(vertex.name, ()))), duration)
        for vertex, verdict, duration in zip(order, verdicts, durations, strict=True)
        if not isinstance(vertex.op, Context | Scratch)
    ]
    unknown = sum(step.verdict != "hit" and step.duration_ms is None for step in steps)
    longest = _longest(order, verdicts, durations)
    return Plan(tuple(steps), tuple(forecast.fetches()), longest, unknown)


def _longest(
    order: Sequence[Vertex], verdicts: Sequence[Verdict], durations: Sequence[int | None]
) -> int:
    """Add up the longest chain of steps that would run; what runs beside it is free."""
    finish: dict[Vertex, int] = {}
    for vertex, verdict, duration in zip(order, verdicts, durations, strict=True):
        start = max((finish[one.vertex] for one in vertex.inputs), default=0)
        finish[vertex] = start + (0 if verdict == "hit" else duration or 0)
    return max(finish.values(), default=0)


def _reason(change: Change) -> str:
    return f"after {visible(change.name)}" if change.kind == "step" else change.text
