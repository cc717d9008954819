"""Words: quotes, escapes and the forms of `${…}`."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.words import (
    BODY,
    MAX_DEPTH,
    MAX_WORD,
    NAME,
    RAW,
    SHELL,
    Expansion,
    InvalidWord,
    Style,
    expand,
)

VARIABLES = {"v": "foobarbaz", "empty": "", "two": "a b", "PWD": "/home"}
SNIPPET = st.sampled_from(
    ["$", "{", "}", "v", "empty", "none", ":", "-", "+", "?", "#", "%", "/", "*", "\\", "'", '"',
     " ", "x", "${v", "${none:-", "é", "\udc80", "\0"]
)  # fmt: skip
TEXT = st.lists(SNIPPET, max_size=25).map("".join)
STYLES = st.builds(
    Style,
    st.sampled_from(["\\", "`"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


def expanded(text: str, style: Style = SHELL) -> str:
    return expand(text, VARIABLES, style).text


@given(TEXT, STYLES)
def test_any_text_expands_or_is_an_invalid_word(text: str, style: Style) -> None:
    with suppress(InvalidWord):
        assert isinstance(expand(text, VARIABLES, style), Expansion)


@given(st.text().filter(lambda text: not set(text) & set("\\$'\"")))
def test_text_without_special_characters_stays(text: str) -> None:
    assert expanded(text) == text


@given(st.text(st.characters(exclude_characters="'")))
def test_single_quotes_keep_everything(text: str) -> None:
    result = expand(f"'{text}'", VARIABLES)

    assert result.text == text
    assert result.words == ((text,) if text else ())


@given(st.text(st.characters(exclude_characters="\n")))
def test_escaping_every_character_keeps_everything(text: str) -> None:
    assert expanded("".join(f"\\{character}" for character in text)) == text


@given(st.text())
def test_a_value_is_put_in_as_it_is(value: str) -> None:
    result = expand('"$x"', {"x": value})

    assert result == Expansion(value, (value,) if value else (), frozenset({"x"}))


@given(TEXT)
def test_words_hold_nothing_that_the_text_does_not(text: str) -> None:
    with suppress(InvalidWord):
        result = expand(text, VARIABLES)

        assert all(word in result.text for word in result.words)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$v", "foobarbaz"),
        ("${v}", "foobarbaz"),
        ("$none|${none}", "|"),
        ("${none:-w}|${none-w}", "w|w"),
        ("${empty:-w}|${empty-w}", "w|"),
        ("${v:+w}|${empty:+w}|${empty+w}|${none+w}", "w||w|"),
        ("${none:-${empty:-$v}}", "foobarbaz"),
        ("${v#f*b}|${v##f*b}", "arbaz|az"),
        ("${v%b*}|${v%%b*}", "foobar|foo"),
        ("${v/ba/fo}|${v//ba/fo}", "fooforbaz|fooforfoz"),
        ("$|a$|$$|$1x|$@", "$|a$||x|"),
        ("\"$v 'x'\"", "foobarbaz 'x'"),
        (r'"\"\$\\\x"', r'"$\\x'),
        (r"\$v", "$v"),
        ("a\\", "a"),
    ],
)
def test_forms(text: str, result: str) -> None:
    assert expanded(text) == result


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${", "missing '}'"),
        ("${}", "bad substitution"),
        ("${:x}", "bad substitution"),
        ("${v", r"unsupported modifier"),
        ("${v:=w}", r"unsupported modifier \(:=\) in substitution"),
        ("${v:-w", "missing '}'"),
        ("${v/x}", r"missing '/' in \$\{\}"),
        ("${v/x/y", "missing '}'"),
        ("${none?}", "none: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${none:?give it}", "none: give it"),
        ("'a", "single-quote"),
        ('"a', "double-quote"),
        (r"${v#\x}", "invalid escape"),
    ],
)
def test_errors_name_the_word_and_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidWord, match=f"failed to process .*: .*{why}"):
        expanded(text)


def test_unquoted_values_split_into_words_and_quoted_ones_do_not() -> None:
    assert expand("x$two \"$two\" 'c d'", VARIABLES).words == ("xa", "b", "a b", "c d")


def test_variables_that_were_asked_for_are_told() -> None:
    result = expand("$v ${none:-$other} ${empty}", VARIABLES)

    assert result.matched == {"v", "empty"}
    assert result.unmatched == {"none", "other"}


def test_another_escape_character_makes_the_backslash_ordinary() -> None:
    assert expanded(r"C:\dir\`$v", SHELL._replace(escape="`")) == r"C:\dir\$v"


def test_bodies_keep_quotes() -> None:
    assert expanded("'$v' \"$empty\" \\$v", BODY) == "'foobarbaz' \"\" $v"


def test_names_keep_quotes_and_what_is_not_set() -> None:
    assert expanded("'a' \"$v\" $none ${none:-w}", NAME) == "'a' \"foobarbaz\" $none ${none:-w}"


def test_raw_text_stays() -> None:
    text = r"""a\b 'c\d' "e\"f" $x ${y}"""

    assert expand(text, {}, RAW).text == text


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 2_000, 200_000])
def test_deep_nesting_is_a_clear_error(depth: int) -> None:
    with pytest.raises(InvalidWord, match="nested more than"):
        expanded("${a:-" * depth + "}" * depth)


def test_growth_is_limited() -> None:
    with pytest.raises(InvalidWord, match="longer than 1 MiB"):
        expand("$a" * 1_000, {"a": "x" * 10_000})


def test_replacing_does_not_grow_beyond_the_limit() -> None:
    with pytest.raises(InvalidWord, match="longer than 1 MiB"):
        expand("${a//x/" + "y" * 1_000 + "}", {"a": "x" * 100_000})


@pytest.mark.parametrize(
    "text",
    [
        "a" * MAX_WORD,
        "$v" * 50_000,
        '"a" ' * 100_000,
        "'" * 200_000,
        "${v:-x}" * 20_000,
        "\\a" * 200_000,
        "${v" * 100_000,
    ],
)
def test_long_texts_take_linear_time(text: str) -> None:
    began = time.process_time()

    with suppress(InvalidWord):
        expanded(text)

    assert time.process_time() - began < 1
