"""Ignore files: which paths of a context are left out. The last pattern that matches decides.

Patterns are compiled in runs of one kind (hiding or showing again) when first asked; a run is a set
of plain paths, one regular expression, and automata for the few patterns that need them.

Spec: moby/patternmatcher, MatchesOrParentMatches and ignorefile.ReadAll.
"""

import posixpath
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from builder.errors import UsageError
from builder.pathpattern import Automaton, is_plain, regex

BOM = "\ufeff"
MAX_PATTERNS = 10_000


def parse_ignore_file(text: str) -> tuple[str, ...]:
    """Read the patterns of an ignore file in order, cleaned, relative, a `!` kept in front."""
    lines = text.removeprefix(BOM).split("\n")
    patterns = (line.strip() for line in lines if not line.startswith("#"))
    return tuple(_normal(pattern) for pattern in patterns if pattern)


def _normal(pattern: str) -> str:
    if pattern.startswith("!"):
        return "!" + _clean_relative(pattern[1:].strip())
    return _clean_relative(pattern)


def _clean_relative(path: str) -> str:
    cleaned = _clean(path) if path else ""
    return cleaned[1:] if len(cleaned) > 1 and cleaned[0] == "/" else cleaned


def _clean(path: str) -> str:
    """Shorten a path as Go's filepath.Clean does: `./a//b/../c` is `a/c`."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


class IgnoreMatcher:
    """The patterns of an ignore file, or of `--exclude`, ready to be asked about relative paths."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Compile patterns; raise UsageError for a malformed one or for too many."""
        if len(patterns) > MAX_PATTERNS:
            raise UsageError(
                f"{len(patterns)} ignore patterns are more than {MAX_PATTERNS}",
                fix="ignore directories rather than single files",
            )
        cleaned = [_clean(pattern.strip()) for pattern in patterns if pattern.strip()]
        runs = groupby(cleaned, key=lambda pattern: not pattern.startswith("!"))
        self._runs = [_Run(list(run), is_hiding=is_hiding) for is_hiding, run in runs][::-1]
        self.has_exceptions = any(not run.is_hiding for run in self._runs)

    def is_ignored(self, path: str) -> bool:
        """Say whether a path is hidden, itself or by a parent; the root itself never is."""
        if not path:
            return False
        for run in self._runs:
            if run.matches(path):
                return run.is_hiding
        return False

    def deciding(self, path: str) -> tuple[str, bool] | None:
        """Name the pattern that decides about a path, as it is used, and whether it hides.

        Slow: it compiles patterns one by one. None if no pattern matches.
        """
        if not path:
            return None
        for run in self._runs:
            if run.matches(path):
                pattern = run.deciding(path)
                return (pattern if run.is_hiding else f"!{pattern}"), run.is_hiding
        return None

    def may_contain_included(self, directory: str) -> bool:
        """Say whether something below an ignored directory may be shown: never a wrong no."""
        for run in self._runs:
            if run.is_hiding and run.matches(directory):
                return False
            if not run.is_hiding and run.may_match_below(directory):
                return True
        return True


class _Run:
    """Neighbouring patterns of one kind: any of them decides."""

    def __init__(self, patterns: list[str], *, is_hiding: bool) -> None:
        self.is_hiding = is_hiding
        if not is_hiding:
            patterns = [_exception(pattern) for pattern in patterns]
        self._written = patterns
        self._plain = frozenset(pattern for pattern in patterns if is_plain(pattern))
        self._patterns = [pattern for pattern in patterns if pattern not in self._plain]
        compiled = [(pattern, regex(pattern)) for pattern in self._patterns]
        expressions = [expression for _, expression in compiled if expression is not None]
        self._regex = re.compile("|".join(expressions)) if expressions else None
        self._automata = [Automaton(pattern) for pattern, written in compiled if written is None]
        self._below: tuple[frozenset[str], list[Automaton]] | None = None

    def matches(self, path: str) -> bool:
        """Say whether a pattern matches a path or one of its parents."""
        if self._plain and self._names(path):
            return True
        if self._regex is not None and self._regex.match(path):
            return True
        return any(automaton.matches(path) for automaton in self._automata)

    def deciding(self, path: str) -> str:
        """Give the last of the patterns that match a path which some pattern matches."""
        for pattern in reversed(self._written):
            if _Run([pattern], is_hiding=True).matches(path):
                return pattern
        raise AssertionError("no pattern of the run matches")

    def may_match_below(self, directory: str) -> bool:
        """Say whether a pattern could match something inside a directory."""
        if self._below is None:
            parents = {parent for plain in self._plain for parent in _parents(plain)}
            self._below = frozenset(parents), [Automaton(pattern) for pattern in self._patterns]
        parents_of_plain, automata = self._below
        if directory in parents_of_plain:
            return True
        return any(automaton.may_match_below(directory) for automaton in automata)

    def _names(self, path: str) -> bool:
        if path in self._plain:
            return True
        position = path.find("/")
        while position >= 0:
            if path[:position] in self._plain:
                return True
            position = path.find("/", position + 1)
        return False


def _exception(pattern: str) -> str:
    if pattern == "!":
        raise UsageError('illegal exclusion pattern: "!"', fix="write a pattern after the !")
    return pattern[1:]


def _parents(path: str) -> Iterator[str]:
    position = path.find("/")
    while position >= 0:
        yield path[:position]
        position = path.find("/", position + 1)
