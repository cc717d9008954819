"""The account of a build: what it looked up, what hit, what ran and why, kept for the next one."""

from collections.abc import Mapping, Sequence

from builder.dockerfile.instructions import Arg, Env
from builder.dockerfile.parser import Dockerfile
from builder.engine import journal
from builder.engine.explain import Change, Report, pairs, reports
from builder.engine.journal import Journal
from builder.engine.observer import Observer
from builder.engine.request import BuildRequest
from builder.executors.bench import LocalContext
from builder.graph.ops import Context, Image, Scratch
from builder.graph.vertex import Vertex
from builder.layers.brief import Briefs, merged
from builder.oci.digest import Digest
from builder.store.store import Store
from builder.text import visible


class Account:
    """Keeps the account of one build that has ended."""

    def __init__(self, store: Store, request: BuildRequest, observer: Observer) -> None:
        """Take what was observed; nothing is read yet."""
        self._observer = observer
        self._path = journal.journal_path(store, request)
        self.reports: list[Report] = []
        self.was_built_before = False

    def close(
        self,
        fast: Mapping[Vertex, Digest],
        dockerfile: Dockerfile,
        contexts: Mapping[str, LocalContext],
        listings: Mapping[Digest, Briefs],
    ) -> None:
        """Compare with the last build and take its place; `fast` has inputs first."""
        order = list(fast)
        old = journal.read(self._path)
        self.was_built_before = old is not None
        steps = journal.taken(order, fast, self._observer, arguments_of(dockerfile), old)
        new = Journal(
            journal.now_s(),
            steps,
            {name: context.tree.briefs() for name, context in contexts.items()},
            self._roots(order, fast, listings, old),
        )
        outcome = self._outcome(order, new, old)
        forced = frozenset(i for i, vertex in enumerate(order) if vertex.is_ignoring_cache)
        self.reports = reports(old, new, outcome, forced)
        if self._observer.has_run or old is None:
            journal.write(self._path, new)

    def _outcome(
        self, order: Sequence[Vertex], new: Journal, old: Journal | None
    ) -> dict[int, bool]:
        """Tell which steps hit. A base that is what it was counts as a hit."""
        paired = {} if old is None else pairs(old.steps, new.steps)
        outcome: dict[int, bool] = {}
        for position, vertex in enumerate(order):
            if isinstance(vertex.op, Context | Scratch) or vertex.digest in self._observer.hits:
                outcome[position] = True
            elif (
                vertex.digest in self._observer.durations_ns
                or vertex.digest in self._observer.failed
            ):
                former = paired.get(position)
                outcome[position] = (
                    isinstance(vertex.op, Image)
                    and old is not None
                    and former is not None
                    and old.steps[former].fields == new.steps[position].fields
                )
        return outcome

    def _roots(
        self,
        order: Sequence[Vertex],
        fast: Mapping[Vertex, Digest],
        listings: Mapping[Digest, Briefs],
        old: Journal | None,
    ) -> dict[str, Briefs]:
        """Collect the files that were read of other steps' results."""
        names = {vertex.name for vertex in order}
        found = {} if old is None else {n: x for n, x in old.roots.items() if n in names}
        fresh: dict[str, Briefs] = {}
        for vertex in order:
            parts = self._observer.parts.get(fast[vertex], ())[1:]
            for needed, part in zip(vertex.inputs, parts, strict=False):
                listing = listings.get(part.digest)
                if listing is not None:
                    name = needed.vertex.name
                    fresh[name] = merged(fresh.get(name, {}), listing)
        return {**found, **fresh}


def arguments_of(dockerfile: Dockerfile) -> frozenset[str]:
    """List the names that a Dockerfile declares by ARG and never sets by ENV."""
    instructions = [one for stage in dockerfile.stages for one in stage.instructions]
    declared = [*dockerfile.global_args, *(one for one in instructions if isinstance(one, Arg))]
    names = {name for one in declared for name, _default in one.pairs}
    names -= {name for one in instructions if isinstance(one, Env) for name, _value in one.pairs}
    return frozenset(names)


def first_miss(found: Sequence[Report]) -> str:
    """Say in one line why the first step that missed did; empty if none did."""
    for report in found:
        if not report.is_hit and report.changes:
            return f"{visible(report.name)} ran again: {report.changes[0].text}"
    return ""


def rendered(found: Sequence[Report], lookups: Sequence[str] = ()) -> str:
    """Write a report for people, one step a paragraph."""
    lines = []
    for report in found:
        lines.append(f"{'HIT ' if report.is_hit else 'MISS'}  {visible(report.name)}")
        lines += [f"        {change.text}" for change in report.changes]
    lines += [f"look-up: {visible(text)}" for text in lookups]
    return "\n".join(lines)


def as_json(found: Sequence[Report], lookups: Sequence[str] = ()) -> str:
    """Write a report for programs."""
    import json

    steps = [
        {
            "name": report.name,
            "result": "hit" if report.is_hit else "miss",
            "changes": [_change(change) for change in report.changes],
            "duration_ms": report.duration_ms,
        }
        for report in found
    ]
    return json.dumps({"steps": steps, "lookups": list(lookups)}, indent=2, ensure_ascii=True)


def _change(change: Change) -> dict[str, object]:
    facts: dict[str, object] = {"kind": change.kind, "text": change.text}
    if change.name:
        facts["name"] = change.name
    if change.old is not None or change.new is not None:
        facts |= {"old": change.old, "new": change.new}
    if change.paths:
        facts["files"] = [{"path": path, "change": what} for path, what in change.paths]
    return facts
