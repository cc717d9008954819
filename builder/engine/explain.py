"""Why steps ran: the parts of their keys that differ from the last build of the same project.

Pure comparison of two journals. Steps are paired by name first; what is left between two pairs is
paired in order where the kinds agree, so that an edited command is seen as the same step.
"""

from collections.abc import Iterable, Mapping, Sequence

from builder.engine.journal import Journal, Read, Step
from builder.graph.describe import BASE, COMMAND, HIDDEN
from builder.graph.vertex import Selector
from builder.layers.brief import Briefs, differing
from builder.text import visible
from builder.values import NamedTuple

MAX_PATHS = 10
_MAX_VALUE = 60
_QUIET_KINDS = frozenset({"context", "scratch"})


class Change(NamedTuple):
    """One part of a key that differs.

    Kinds: command, argument, environment, option, base, files, order, step, new, forced, lost,
    unfinished.
    """

    kind: str
    text: str
    name: str = ""
    old: str | None = None
    new: str | None = None
    paths: tuple[tuple[str, str], ...] = ()
    """Files with what happened to each: content, mode, type, added, removed."""


class Report(NamedTuple):
    """What became of a step, and why."""

    name: str
    is_hit: bool
    changes: tuple[Change, ...] = ()
    duration_ms: int | None = None


def reports(
    old: Journal | None,
    new: Journal,
    outcome: Mapping[int, bool],
    forced: frozenset[int] = frozenset(),
) -> list[Report]:
    """Explain the steps of `new`; `outcome` tells by position which hit, `forced` what had to run.

    Steps without an outcome were not reached and are left out.
    """
    known = None if old is None else _Comparison(old, new, pairs(old.steps, new.steps), outcome)
    found = []
    for position, step in enumerate(new.steps):
        if position not in outcome or step.kind in _QUIET_KINDS:
            continue
        changes: tuple[Change, ...] = ()
        if outcome[position]:
            pass
        elif position in forced:
            changes = (Change("forced", "the cache is ignored for this step (--no-cache)"),)
        elif known is None:
            changes = (Change("new", "no earlier build of this project is known"),)
        else:
            changes = known.why(position)
        found.append(Report(step.name, outcome[position], changes, step.duration_ms))
    return found


def pairs(old: Sequence[Step], new: Sequence[Step]) -> dict[int, int]:
    """Pair new steps with the old ones that they are, by position."""
    before, after = [_text(step) for step in old], [_text(step) for step in new]
    if before == after:  # as a rule: files changed, not the Dockerfile
        return {position: position for position in range(len(new))}
    import difflib

    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    found: dict[int, int] = {}
    for tag, first, last, start, end in matcher.get_opcodes():
        if tag == "equal":
            found.update(zip(range(start, end), range(first, last), strict=True))
        elif tag == "replace":
            rest = list(range(first, last))
            for position in range(start, end):
                same = next((i for i in rest if old[i].kind == new[position].kind), None)
                if same is not None:
                    found[position] = same
                    del rest[: rest.index(same) + 1]
    return found


def changed_files(old: Briefs, new: Briefs, selectors: Iterable[Selector]) -> list[tuple[str, str]]:
    """List the selected files that differ, with what happened to each."""
    prefixes = [_literal(selector) for selector in selectors]
    found = [(path, what) for path, what in differing(old, new) if _is_below(path, prefixes)]
    directories = {path.rpartition("/")[0] for path, _ in found}
    return [(p, what) for p, what in found if p not in directories or what != "content"]


class _Comparison(NamedTuple):
    """Two builds, and what became of the steps of the new one."""

    old: Journal
    new: Journal
    paired: Mapping[int, int]
    outcome: Mapping[int, bool]

    def why(self, position: int) -> tuple[Change, ...]:
        """List what differs for a step that missed; never nothing."""
        step = self.new.steps[position]
        if position not in self.paired:
            return (Change("new", "the step is new"),)
        before = self.old.steps[self.paired[position]]
        changes = (*_fields(before, step), *self._files(before, step), *self._parents(step))
        return changes or (_unseen(before, step),)

    def _files(self, before: Step, step: Step) -> Iterable[Change]:
        for former, now in zip(before.reads, step.reads, strict=False):
            if now.selectors is None or former.selectors is None:
                continue
            earlier, later = _briefs(former, self.old), _briefs(now, self.new)
            if earlier is None or later is None:
                continue
            paths = changed_files(earlier, later, now.selectors)
            if paths:
                yield Change("files", _paths_text(paths), paths=tuple(paths))

    def _parents(self, step: Step) -> Iterable[Change]:
        """Name what it is built on, where that ran again or is another base now."""
        for read in step.reads:
            source = self.new.steps[read.source]
            if source.kind in _QUIET_KINDS or self.outcome.get(read.source) in {None, True}:
                continue
            if source.kind == "image":
                yield from self._base(read.source)
            else:
                yield Change("step", f"after {visible(source.name)}, which ran", source.name)

    def _base(self, position: int) -> Iterable[Change]:
        if position in self.paired:
            former, now = self.old.steps[self.paired[position]], self.new.steps[position]
            yield from _fields(former, now)


def _unseen(before: Step, step: Step) -> Change:
    """Say why a step missed though all that was noted of it is as it was."""
    if not before.fast:
        return Change("unfinished", "the step was not done when the last build ended")
    if before.fast == step.fast or not step.fast:
        return Change("lost", "its record is gone: pruned, or taken by the space budget")
    return Change("order", "what it is built on has changed")


def _fields(before: Step, step: Step) -> Iterable[Change]:
    old, new = dict(before.fields), dict(step.fields)
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) != new.get(name) and name != "layers":
            yield _field(name, old.get(name), new.get(name))


def _field(name: str, old: str | None, new: str | None) -> Change:
    if name == COMMAND:
        text = f"command text changed: {_shown(old)} → {_shown(new)}"
        return Change("command", text, name, old, new)
    if name == BASE:
        text = f"base digest {_digits(old)} → {_digits(new)}"
        return Change("base", text, name, old, new)
    kind = {"ARG": "argument", "ENV": "environment"}.get(name.partition(" ")[0], "option")
    if any(value and value.startswith(HIDDEN) for value in (old, new)):
        return Change(kind, f"{visible(name)} changed (its value is not shown)", name)
    if not old:
        return Change(kind, f"{visible(name)} is now {_shown(new)}", name, old, new)
    if not new:
        return Change(kind, f"{visible(name)} {_shown(old)} is gone", name, old, new)
    return Change(kind, f"{visible(name)} {_shown(old)} → {_shown(new)}", name, old, new)


def _briefs(read: Read, journal: Journal) -> Briefs | None:
    if read.context is not None:
        return journal.contexts.get(read.context)
    return journal.roots.get(journal.steps[read.source].name)


def _paths_text(paths: Sequence[tuple[str, str]]) -> str:
    shown = []
    for path, what in paths[:MAX_PATHS]:
        verb = what if what in {"added", "removed"} else f"changed ({what})"
        shown.append(f"{visible(path)} {verb}")
    more = len(paths) - MAX_PATHS
    return ", ".join([*shown, f"and {more} more"] if more > 0 else shown)


def _literal(selector: Selector) -> str:
    """Give the part of a selector's path that has no wildcards."""
    parts = [part for part in selector.path.split("/") if part not in {"", "."}]
    if selector.has_wildcards:
        plain = [not set(part) & set("*?[\\") for part in parts]
        parts = parts[: plain.index(False)] if False in plain else parts
    return "/".join(parts)


def _is_below(path: str, prefixes: Sequence[str]) -> bool:
    return any(not p or path == p or path.startswith(f"{p}/") for p in prefixes)


def _text(step: Step) -> str:
    """Give a step's name without its number, which moves when steps are added above it."""
    head, bracket, text = step.name.partition("] ")
    stage = head.rpartition(" ")[0] if bracket and " " in head else ""
    return f"{step.kind} {stage}] {text}" if bracket else f"{step.kind} {step.name}"


def _shown(value: str | None) -> str:
    text = visible((value or "").strip())
    if not text:
        return "nothing"
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}…"


def _digits(digest: str | None) -> str:
    return f"{digest.rpartition(':')[2][:12]}…" if digest else "nothing"
