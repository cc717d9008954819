"""Patterns of `${v#p}` and `${v/p/r}`."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.shellpattern import (
    InvalidPattern,
    replaced,
    without_prefix,
    without_suffix,
)

PATTERN = st.text(alphabet="ab*?", max_size=6)
TEXT = st.text(alphabet="ab", max_size=8)


def expression(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character, character) for character in pattern)


@given(PATTERN, TEXT, st.booleans())
def test_a_prefix_is_the_shortest_or_longest_that_matches(
    pattern: str,
    text: str,
    is_longest: bool,  # noqa: FBT001 - drawn
) -> None:
    ends = [end for end in range(len(text) + 1) if re.fullmatch(expression(pattern), text[:end])]
    end = (ends[-1] if is_longest else ends[0]) if ends else 0

    assert without_prefix(pattern, text, is_longest=is_longest) == text[end:]


@given(PATTERN, TEXT, st.booleans())
def test_a_suffix_is_a_prefix_read_backwards(
    pattern: str,
    text: str,
    is_longest: bool,  # noqa: FBT001 - drawn
) -> None:
    expected = without_prefix(pattern[::-1], text[::-1], is_longest=is_longest)[::-1]

    assert without_suffix(pattern, text, is_longest=is_longest) == expected


@given(PATTERN.filter(lambda pattern: pattern.strip("*")), TEXT, st.booleans())
def test_replacing_agrees_with_regular_expressions(
    pattern: str,
    text: str,
    is_global: bool,  # noqa: FBT001 - drawn
) -> None:
    expected = re.sub(expression(pattern), "<>", text, count=0 if is_global else 1)

    assert replaced(pattern, text, "<>", is_global=is_global) == expected


@pytest.mark.parametrize(
    ("pattern", "text", "result"),
    [(r"\*", "a*b", "a-b"), (r"\?", "a?b", "a-b"), (r"\\", r"a\b", "a-b"), (r"\/", "a/b", "a-b")],
)
def test_escaped_wildcards_are_ordinary(pattern: str, text: str, result: str) -> None:
    assert replaced(pattern, text, "-", is_global=False) == result


@pytest.mark.parametrize("pattern", [r"\a", "\\"])
def test_only_wildcards_can_be_escaped(pattern: str) -> None:
    with pytest.raises(InvalidPattern, match="invalid escape"):
        replaced(pattern, "x", "", is_global=False)


@pytest.mark.parametrize("pattern", ["a*" * 50 + "b", "*a*a*a*a*b", "a?" * 50 + "b", "*" * 1_000])
def test_hostile_patterns_do_not_blow_up(pattern: str) -> None:
    text = "a" * 3_000
    began = time.process_time()

    without_prefix(pattern, text, is_longest=True)
    without_suffix(pattern, text, is_longest=False)
    replaced(pattern, text, "", is_global=True)

    assert time.process_time() - began < 1
