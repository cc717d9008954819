"""Builds along random edits: each is compared with one from nothing, and no step runs in vain."""

from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.end_to_end.outcomes import Outcome, outcome
from tests.end_to_end.random_builds import Edit, Project, edited, put, random_project
from tests.end_to_end.site import Site


class Problem(NamedTuple):
    """Where an incremental build went wrong, and all that is needed to do it again."""

    what: str
    edits: tuple[str, ...]
    before: Project
    after: Project

    def __str__(self) -> str:
        return (
            f"{self.what}\n--- edits: {'; '.join(self.edits)}\n--- before:\n"
            f"{self.before.dockerfile}\n--- after:\n{self.after.dockerfile}"
            f"\n--- ignored:\n{self.after.ignored}\n--- files: {_listed(self.after)}"
        )


def edit_and_compare(
    random: Random, sites: tuple[Site, Site], context: Path, *, edits: int
) -> Problem | None:
    """Build and edit some times over, then compare with a build that uses no cache.

    `sites` are the one whose cache is used, and another.
    """
    site, clean = sites
    project = random_project(random)
    put(project, context)
    found = outcome(site, project, context)
    done: list[str] = []
    for number in range(1, edits + 1):
        edit = edited(random, project)
        done.append(edit.name)
        put(edit.project, context)
        before, project = project, edit.project
        former, found = found, outcome(site, project, context)
        what = _in_vain(edit, former, found)
        if what is None and number == edits:
            what = _difference(found, outcome(clean, project, context, "--no-cache"))
        if what is not None:
            return Problem(what, tuple(done), before, project)
    return None


def _in_vain(edit: Edit, former: Outcome, found: Outcome) -> str | None:
    """Tell of steps that ran though nothing that matters was changed."""
    if former.has_failed or not edit.is_free:
        return None
    return f"ran in vain: {', '.join(found.ran)}" if found.ran else None


def _difference(found: Outcome, expected: Outcome) -> str | None:
    if found.result == expected.result:
        return None
    if found.has_failed or expected.has_failed:
        return f"incremental: {_shown(found)}\nclean: {_shown(expected)}"
    lines = []
    for ours, theirs in zip(found.result, expected.result, strict=True):  # type: ignore[call-overload]  # tuples
        if ours != theirs:
            lines += [f"incremental: {one}" for one in _only(ours, theirs)]
            lines += [f"clean:       {one}" for one in _only(theirs, ours)]
    return "\n".join(lines)


def _only(ours: object, theirs: object) -> list[str]:
    if isinstance(ours, list) and isinstance(theirs, list):
        return [repr(one)[:200] for one in ours if one not in theirs][:20]
    return [repr(ours)[:2000]]


def _shown(found: Outcome) -> str:
    return repr(found.result)[:1000] if found.has_failed else "built"


def _listed(project: Project) -> str:
    return ", ".join(
        f"{name} {entry.kind} {entry.mode:o} {entry.target}{entry.content[:12]!r}"
        for name, entry in sorted(project.files.items())
    )
