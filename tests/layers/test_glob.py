import fnmatch
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.layers.glob import go_match, unescaped


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", False),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("a*b?c*x", "abxbbxdbxebxczzy", False),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        (r"a\*b", "a*b", True),
        (r"a\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a][^a][^a]b", "a☺b", False),
        (r"[\]a]", "]", True),
        (r"[\-x]", "-", True),
        (r"[x\-]", "z", False),
        ("[a-c]x*", "bxyz", True),
        ("*.go", ".go", True),
        ("arr[[]0].txt", "arr[0].txt", True),
        ("", "", True),
        ("", "a", False),
        ("*x", "xxx", True),
    ],
)
def test_wildcards_match_as_in_go(pattern: str, name: str, *, expected: bool) -> None:
    assert go_match(pattern, name) is expected


@pytest.mark.parametrize(
    "pattern", ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "a[", "a\\"]
)
def test_malformed_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="syntax error in pattern"):
        go_match(pattern, "a")


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=10))
def test_matching_agrees_with_another_matcher(pattern: str, name: str) -> None:
    assert go_match(pattern, name) == fnmatch.fnmatchcase(name, pattern)


def test_a_nasty_pattern_takes_no_time() -> None:
    started_s = time.perf_counter()

    assert not go_match("*a" * 40 + "b", "a" * 2000)

    assert time.perf_counter() - started_s < 1


def test_backslashes_are_taken_off() -> None:
    assert unescaped(r"a\*\\b") == r"a*\b"
