"""Ignore files: what is left out, and which hidden directories must still be walked."""

import re
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.ignore import MAX_PATTERNS, IgnoreMatcher, parse_ignore_file
from builder.pathpattern import Automaton, is_plain, regex

PATTERN = st.lists(
    st.sampled_from(
        ["a", "b", "ab", "*", "?", "**", "a*", "*b", "[ab]", "[^a]", r"\*", "a**", "."]
    ),
    min_size=1,
    max_size=4,
).map("/".join)
PATTERNS = st.lists(st.tuples(st.booleans(), PATTERN), max_size=5).map(
    lambda pairs: tuple("!" * is_exception + pattern for is_exception, pattern in pairs)
)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "aab", "*", "c"]), min_size=1, max_size=5).map(
    "/".join
)


def naive_regex(pattern: str) -> str:
    """Translate without care for speed: the definition of what a pattern means."""
    if re.fullmatch(r"\*\*[^/*?\[\\]+", pattern):
        return ".*" + re.escape(pattern[2:])
    out, rest = "", pattern
    while rest:
        if rest in {"**", "**/"}:
            out, rest = out + ".*", ""
        elif rest.startswith("**"):
            out, rest = out + "(.*/)?", rest[2:].removeprefix("/")
        elif found := re.match(r"\[\^?[^]]+\]", rest):
            out, rest = out + found[0], rest[found.end() :]
        elif rest[0] == "\\":
            out, rest = out + re.escape(rest[1]), rest[2:]
        else:
            written = {"*": "[^/]*", "?": "[^/]"}.get(rest[0], re.escape(rest[0]))
            out, rest = out + written, rest[1:]
    return out


def naive(patterns: Sequence[str], path: str) -> bool:
    """Decide by trying every pattern on the path and on each of its parents."""
    parts = path.split("/")
    tried = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    is_ignored = False
    for pattern in patterns:
        text = naive_regex(pattern.removeprefix("!"))
        if any(re.fullmatch(text, one, re.DOTALL) for one in tried):
            is_ignored = not pattern.startswith("!")
    return is_ignored


def cleaned(patterns: Sequence[str]) -> tuple[str, ...]:
    return parse_ignore_file("\n".join(patterns))


@given(PATTERNS, PATH)
def test_the_matcher_agrees_with_a_naive_one(written: tuple[str, ...], path: str) -> None:
    patterns = cleaned(written)

    is_ignored = IgnoreMatcher(patterns).is_ignored(path)

    assert is_ignored == naive(patterns, path)


@given(PATTERNS, PATH)
def test_no_hidden_directory_with_something_shown_below_is_pruned(
    written: tuple[str, ...], path: str
) -> None:
    matcher = IgnoreMatcher(cleaned(written))
    parents = [path[:at] for at, character in enumerate(path) if character == "/"]

    is_shown = not matcher.is_ignored(path)

    if is_shown:
        assert all(matcher.may_contain_included(one) for one in parents if matcher.is_ignored(one))


@given(PATTERN, PATH)
def test_a_regular_expression_and_an_automaton_say_the_same(pattern: str, path: str) -> None:
    expression = regex(pattern)

    if expression is not None:
        assert bool(re.match(expression, path)) == Automaton(pattern).matches(path)


@given(st.text(alphabet="ab*?[]^-\\/!#. ", max_size=20))
def test_any_text_is_a_pattern_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        assert IgnoreMatcher(parse_ignore_file(text)).is_ignored("a/b") in (True, False)


def test_the_last_pattern_that_matches_decides() -> None:
    matcher = IgnoreMatcher(("*.md", "!README.md", "docs", "!docs/README.md"))

    hidden = [
        matcher.is_ignored(path) for path in ("a.md", "README.md", "docs/x", "docs/README.md")
    ]

    assert hidden == [True, False, True, False]


def test_a_pattern_that_matches_a_directory_matches_all_below() -> None:
    matcher = IgnoreMatcher(("node_modules", "**/cache"))

    assert matcher.is_ignored("node_modules/a/b.js")
    assert matcher.is_ignored("x/y/cache/z")
    assert not matcher.is_ignored("x/node_modules/a.js")


def test_the_root_is_never_ignored() -> None:
    assert not IgnoreMatcher(("**",)).is_ignored("")


@pytest.mark.parametrize(
    ("patterns", "directory", "may_contain"),
    [
        (("*", "!src"), "other", False),
        (("*", "!src/main.c"), "src", True),
        (("*", "!**/*.c"), "deep/down", True),
        (("*", "!src/*/x"), "src/a", True),
        (("*", "!src/*/x"), "lib", False),
        (("!src/main.c", "*"), "src", False),
        (("a", "!a/b/c", "a/b"), "a/b", False),
        (("a", "!a/b/c", "a/b"), "a", True),
    ],
)
def test_hidden_directories_are_walked_only_for_later_exceptions(
    patterns: tuple[str, ...], directory: str, *, may_contain: bool
) -> None:
    assert IgnoreMatcher(patterns).may_contain_included(directory) is may_contain


def test_exceptions_are_known() -> None:
    assert IgnoreMatcher(("*", "!a")).has_exceptions
    assert not IgnoreMatcher(("*",)).has_exceptions


def test_lines_are_cleaned_and_comments_left_out() -> None:
    text = "\ufeff# comment\n #not one\n\n  ./a//b/../c/  \n!  /d \n/\n.\n!\n"

    assert parse_ignore_file(text) == ("#not one", "a/c", "!d", "/", ".", "!")


@pytest.mark.parametrize("pattern", ["[", "[]", "[^", "[a", "[a-", "[-a]", "[b-a]", "a\\", "!"])
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        IgnoreMatcher((pattern,))


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(UsageError, match="more than"):
        IgnoreMatcher(("a",) * (MAX_PATTERNS + 1))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("a*" * 30 + "b", "a" * 60_000),
        ("*a" * 300 + "c", "a" * 20_000),
        ("**/" * 200 + "x", "a/" * 20_000),
        ("**/a*/" * 50 + "z", "aaaa/" * 5_000),
        ("**a" * 100 + "[^b]c", "a/" * 2_000),
        ("[^b]*" * 50 + "c", "a/" * 2_000),
    ],
)
def test_hostile_patterns_take_linear_time(pattern: str, path: str) -> None:
    matcher = IgnoreMatcher((pattern,))
    began = time.process_time()

    assert not matcher.is_ignored(path)

    assert time.process_time() - began < 1


def test_twenty_thousand_paths_take_a_moment() -> None:
    paths = [f"dir{i % 50}/sub{i % 7}/file{i}.txt" for i in range(20_000)]
    patterns = [
        ".git",
        "node_modules",
        "**/*.pyc",
        "*.md",
        "!README.md",
        "dir1/**",
        *map(str, paths),
    ]
    matcher = IgnoreMatcher(patterns[: MAX_PATTERNS // 2])
    began = time.process_time()

    ignored = sum(map(matcher.is_ignored, paths))

    assert ignored > 0
    assert time.process_time() - began < 1


def test_plain_patterns_are_told_from_wildcards() -> None:
    assert is_plain("a/b.c")
    assert not any(map(is_plain, ("a*", "a?", "[a]", "a\\b")))


@given(PATTERNS, PATH)
def test_the_deciding_pattern_agrees_with_the_answer(written: tuple[str, ...], path: str) -> None:
    matcher = IgnoreMatcher(parse_ignore_file("\n".join(written)))

    decided = matcher.deciding(path)

    assert (decided is not None and decided[1]) == matcher.is_ignored(path)
