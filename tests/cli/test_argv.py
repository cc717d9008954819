"""builder.cli.argv: pflag's grammar, nothing guessed, and agreement with click."""

from collections.abc import Sequence

import click
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from builder.cli.argv import Doubt, parse
from builder.cli.clicked import command as click_command
from builder.cli.options import Argument, Arguments, Command, count, flag, multiple, optional, value

TABLE = Command(
    name="test",
    summary="Test.",
    options=(
        flag("-i", "--interactive", help=""),
        flag("-t", "--tty", help=""),
        flag("--sig-proxy", help="", is_on=True),
        count("-v", "--verbose", help=""),
        value("-n", "--name", "NAME", help=""),
        value("--pull", "POLICY", help="", choices=("always", "never")),
        multiple("-e", "--env", "NAME=VALUE", help=""),
        optional("--explain", "FORMAT", help="", implied="text"),
    ),
    arguments=(Argument("IMAGE"), Argument("WORD", minimum=0, maximum=None)),
)
STRICT = TABLE._replace(is_interspersed=False)


def read(*words: str, table: Command = TABLE) -> Arguments:
    return parse(table, words)


def test_letters_stand_together() -> None:
    found = read("-itvv", "image")

    assert (found.flag("interactive"), found.flag("tty"), found.count("verbose")) == (True, True, 2)


@pytest.mark.parametrize(
    "words",
    [("-eK=V",), ("-e=K=V",), ("-e", "K=V"), ("--env=K=V",), ("--env", "K=V"), ("-ite", "K=V")],
)
def test_a_value_may_be_joined_to_its_option_or_follow_it(words: Sequence[str]) -> None:
    found = read(*words, "image")

    assert found.values("env") == ("K=V",)


def test_an_option_may_take_a_word_that_looks_like_an_option() -> None:
    found = read("--name", "--tty", "image")

    assert found.value("name") == "--tty"
    assert not found.flag("tty")


@pytest.mark.parametrize(
    ("word", "is_on"), [("true", True), ("1", True), ("F", False), ("0", False)]
)
def test_a_flag_may_be_written_out(*, word: str, is_on: bool) -> None:
    assert read(f"--sig-proxy={word}", "image").flag("sig-proxy") is is_on
    assert read(f"-t={word}", "image").flag("tty") is is_on


def test_defaults_are_those_of_the_table() -> None:
    found = read("image")

    assert found.flag("sig-proxy")
    assert not found.flag("tty")
    assert found.value("name") is None
    assert found.values("env") == ()


def test_the_last_of_several_values_wins_and_multiple_keeps_all() -> None:
    found = read("-n", "a", "--name=b", "-e1", "-e2", "image")

    assert found.value("name") == "b"
    assert found.values("env") == ("1", "2")


def test_an_optional_value_never_takes_the_next_word() -> None:
    assert read("--explain", "image").value("explain") == "text"
    assert read("--explain=json", "image").value("explain") == "json"


def test_the_first_word_ends_the_options_where_words_are_a_command() -> None:
    found = read("-t", "image", "-i", "--", "--name", table=STRICT)

    assert found.words == ("image", "-i", "--", "--name")
    assert not found.flag("interactive")


def test_options_follow_words_elsewhere_until_two_dashes() -> None:
    found = read("image", "-t", "--", "-i", "-")

    assert found.flag("tty")
    assert found.words == ("image", "-i", "-")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--nam", "x", "image"), "unknown"),
        (("--help",), "unknown"),
        (("-x", "image"), "unknown"),
        (("-itx", "image"), "unknown"),
        (("image", "--name"), "value"),
        (("--tty=maybe", "image"), "boolean"),
        (("--verbose=2", "image"), "boolean"),
        (("--pull=sometimes", "image"), "choice"),
        ((), "few"),
    ],
)
def test_what_is_doubtful_is_said(words: Sequence[str], reason: str) -> None:
    with pytest.raises(Doubt) as caught:
        read(*words)

    assert caught.value.reason == reason


def test_more_words_than_arguments_are_doubtful() -> None:
    with pytest.raises(Doubt) as caught:
        parse(TABLE._replace(arguments=(Argument("IMAGE"),)), ["a", "b"])

    assert (caught.value.reason, caught.value.word) == ("many", "b")


def test_an_undeclared_key_is_a_bug() -> None:
    with pytest.raises(KeyError):
        read("image").flag("nonsense")


WORDS = st.lists(
    st.sampled_from(
        [
            "-i", "-t", "-it", "-tv", "-v", "--tty", "--interactive", "--verbose", "-n", "--name",
            "--name=x", "-nx", "--name=", "-e", "-eK=V", "--env=K", "--env", "--pull=always",
            "--pull", "always", "never", "--pull=no", "--", "-", "image", "", "K=V", "--tt", "-x",
            "-tx", "--verbos", "two words", "ünï",
        ]
    ),
    max_size=6,
)  # fmt: skip


@given(words=WORDS, is_strict=st.booleans())
def test_click_reads_the_common_grammar_in_the_same_way(
    *, words: list[str], is_strict: bool
) -> None:
    """`=false`, `-e=V` and `--explain` are pflag's alone; all else is compared with click.

    So is a wrong choice that a later one overrides: we refuse it, click does not look at it.
    """
    assume(sum(word.startswith("--pull") for word in words) < 2)
    table = STRICT if is_strict else TABLE
    table = table._replace(options=tuple(o for o in table.options if o.kind != "optional"))

    ours = read_by_us(table, words)
    clicks = read_by_click(table, words)

    assert ours == clicks


def read_by_us(table: Command, words: list[str]) -> dict[str, object] | None:
    try:
        found = parse(table, words)
    except Doubt:
        return None
    return {
        "interactive": found.flag("interactive"),
        "tty": found.flag("tty"),
        "verbose": found.count("verbose"),
        "name": found.value("name"),
        "pull": found.value("pull"),
        "env": found.values("env"),
        "words": found.words,
    }


def read_by_click(table: Command, words: list[str]) -> dict[str, object] | None:
    try:
        context = click_command(table).make_context("test", list(words))
    except click.UsageError:
        return None
    found = context.params
    names = ("interactive", "tty", "verbose", "name", "pull", "env")
    return {
        **{name: found[name] for name in names},
        "words": (found["image"], *found["word"]),
    }
