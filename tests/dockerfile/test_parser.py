"""Whole files: round trips, hostile texts, and what the cache directory may do."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.dockerfile.instructions import Copy, Env, Healthcheck, Instruction, Run
from builder.dockerfile.parser import Dockerfile, parse, parse_trigger
from builder.errors import DockerfileError, render
from builder.source import Position, Source, Span
from tests.dockerfile.rendering import instructions_of, printed

REPOSITORY = Path(__file__).resolve().parents[2]
PIECE = st.sampled_from(
    ["RUN", "COPY", "ADD", "ENV", "ARG", "LABEL", "ONBUILD", "HEALTHCHECK", "CMD", "SHELL", "USER",
     "VOLUME", "EXPOSE", "FROM", " ", "\t", "\n", "\\\n", "\\", "`", "'", '"', "[", "]", '"a"', ",",
     "<<EOF", "<<-E", "\nEOF\n", "\nE\n", "--", "--from=", "--link", "=", "a", "b=c", "#", "\r\n",
     "\x1c", "\x85", "\xa0", "\u2028", "\udc80", "é", "$", "${", "1", "{", "}", "null", "NONE"]
)  # fmt: skip
FILE = st.lists(PIECE, max_size=20).map(lambda pieces: "FROM x\n" + "".join(pieces))
ANYWHERE = Span(Source("image", ""), Position(1, 1), Position(1, 1))


def parsed(text: str) -> Dockerfile:
    return parse(Source("Dockerfile", text))


def stripped(dockerfile: Dockerfile) -> list[Instruction]:
    return [instruction._replace(span=ANYWHERE) for instruction in instructions_of(dockerfile)]


def only(line: str) -> Instruction:
    [instruction] = parsed(f"FROM x\n{line}\n").stages[0].instructions
    return instruction


@given(FILE)
@settings(max_examples=300)
def test_any_text_is_a_file_or_a_dockerfile_error(text: str) -> None:
    try:
        dockerfile = parsed(text)
    except DockerfileError as error:
        assert error.span  # noqa: PT017 - either outcome is a result
        return

    assert dockerfile.source.text == text


@given(FILE)
@settings(max_examples=300)
def test_what_is_printed_parses_to_the_same(text: str) -> None:
    try:
        dockerfile = parsed(text)
    except DockerfileError:
        return

    assert stripped(parsed(printed(dockerfile))) == stripped(dockerfile)


def test_spans_cover_an_instruction_with_its_bodies() -> None:
    span = parsed("FROM x\n\n  RUN cat \\\n <<E\na\nE\nUSER u").stages[0].instructions[0].span

    assert (span.start, span.end) == ((3, 3), (7, 1))


def test_errors_point_into_continuations() -> None:
    with pytest.raises(DockerfileError, match="unknown flag: --form") as caught:
        parsed("FROM x\nCOPY --link \\\n# c\n  --form=a b c\n")

    span = caught.value.span
    assert span
    assert (span.start, span.end) == ((4, 3), (4, 11))


def test_a_flag_keeps_what_quotes_hold_together() -> None:
    run = only('RUN --mount="type=tmpfs,target=/a b" --mount=x\\ y -- --mount=z')

    assert isinstance(run, Run)
    assert run.mounts == ("type=tmpfs,target=/a b", "x y")
    assert run.text == "--mount=z"


@pytest.mark.parametrize(
    ("text", "is_broken"),
    [
        ("['a', 'b']", True),
        ('["a" "b"]', True),
        ('["a", b]', True),
        ('["a",]', True),
        ('[ "$a" = "b" ]', False),
        ("[ -f x ] && y", False),
        ('["a"]', False),
        ("[[ $x == 'a' ]]", False),
    ],
)
def test_arrays_that_are_none_are_told_from_tests(text: str, *, is_broken: bool) -> None:
    run = only(f"RUN {text}")

    assert isinstance(run, Run)
    assert run.is_json_broken is is_broken


def test_arrays_are_decoded_and_well_formed() -> None:
    run = only('RUN ["\\u00e9\\ud800\\n", "\udcff"]')

    assert isinstance(run, Run)
    assert run.words == ("é\ufffd\n", "\ufffd")


def test_pairs_keep_their_quotes() -> None:
    env = only("""ENV a="b c" 'd'=e\\ f""")

    assert isinstance(env, Env)
    assert env.pairs == (("a", '"b c"'), ("'d'", "e\\ f"))


def test_durations_are_nanoseconds() -> None:
    check = only("HEALTHCHECK --interval=1h2m3.5s --timeout=1.5ms CMD x")

    assert isinstance(check, Healthcheck)
    assert check.health.interval_ns == 3_723_500_000_000
    assert check.health.timeout_ns == 1_500_000


@pytest.mark.parametrize("text", ["5", "s", "1x", "1s2", "-", "", "9" * 100 + "h", "1..5s", "."])
def test_other_texts_are_no_durations(text: str) -> None:
    with pytest.raises(DockerfileError):
        parsed(f"FROM x\nHEALTHCHECK --interval='{text}' --retries=x CMD y")


def test_triggers_have_the_span_that_is_given() -> None:
    copy = parse_trigger("COPY <<A --x /y\n$b\nA", ANYWHERE)

    assert isinstance(copy, Copy)
    assert copy.span == ANYWHERE
    assert copy.heredocs[0].content == "$b\n"


@pytest.mark.parametrize("text", ["", "RNU x", "COPY a", "RUN a\nRUN b", "# x", "RUN <<A\nb"])
def test_bad_triggers_are_errors_there(text: str) -> None:
    with pytest.raises(DockerfileError, match="ONBUILD trigger") as caught:
        parse_trigger(text, ANYWHERE)

    assert caught.value.span == ANYWHERE


def hostile() -> Iterator[tuple[str, str]]:
    yield "long line", "RUN " + "x" * 900_000
    yield "continuations", "RUN a" + " \\\n b" * 20_000
    yield "pairs", "ENV " + " \\\n".join(f"a{i}=b" for i in range(20_000))
    yield "words", "ARG " + "\\\n".join(["a " * 30_000] * 15)
    yield "sources", "COPY " + "\\\n".join(["a " * 30_000] * 15)
    yield "brackets", "RUN " + "[" * 20_000
    yield "nested arrays", "CMD " + "[1," * 20_000
    yield "long array", "CMD [" + "\\\n".join(['"a",' * 10_000] * 20) + "b]"
    yield (
        "heredocs",
        "RUN "
        + " ".join(f"<<E{i}" for i in range(500))
        + "".join(f"\nx\nE{i}" for i in range(500)),
    )
    yield "flags", "RUN " + "--mount=x " * 5_000
    yield "quotes", "ENV a=" + "\"'" * 30_000
    yield "escapes", "ENV a=" + "\\" * 60_001
    yield "substitutions", "RUN <<A " + "${a:-" * 10_000 + "\nA"
    yield "onbuild", "ONBUILD " * 7_000 + "RUN x"
    yield "comments", "# c\n" * 300_000 + "RUN x"
    yield "nul", "RUN \0"
    yield "latin 1", b"RUN \xe9\xff".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in hostile()])
def test_hostile_files_take_about_a_second_at_most(text: str) -> None:
    began = time.process_time()

    try:
        parsed(f"FROM x\n{text}\n")
    except DockerfileError as error:
        render(error)

    assert time.process_time() - began < 1.5


SAMPLE = '# escape=`\nFROM x\nENV a=b `\n c=\udc80\nRUN ["a"]\n'
PROGRAM = """
import sys
from builder.dockerfile.parser import parse
from builder.source import Source
text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
dockerfile = parse(Source("Dockerfile", text), cache_dir=sys.argv[1])
print(len(dockerfile.stages[0].instructions), "lark" in sys.modules)
"""


def parse_apart(cache: Path, text: str = SAMPLE) -> str:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(cache)],
        input=text.encode("utf-8", "surrogateescape"),
        stdout=subprocess.PIPE,
        check=True,
        cwd=REPOSITORY,
    )
    return result.stdout.decode().strip()


def test_an_unchanged_file_needs_no_lark(tmp_path: Path) -> None:
    first = parse_apart(tmp_path / "cache")
    again = parse_apart(tmp_path / "cache")
    changed = parse_apart(tmp_path / "cache", SAMPLE + "USER u\n")

    assert (first, again, changed) == ("2 True", "2 False", "3 False")


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04.", b"[]", b"{}", b"[" * 100_000, b'[["run",[[1,2,3]]]]', b"null"]
)
def test_damaged_cache_files_are_ignored(tmp_path: Path, content: bytes) -> None:
    parse_apart(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(content)

    assert parse_apart(tmp_path) == "2 True"
    assert parse_apart(tmp_path) == "2 False"


def test_cache_files_that_others_may_write_are_ignored(tmp_path: Path) -> None:
    parse_apart(tmp_path)
    for path in tmp_path.iterdir():
        os.chmod(path, 0o666)

    assert parse_apart(tmp_path) == "2 True"


def test_a_cache_that_cannot_be_written_does_no_harm() -> None:
    assert parse_apart(Path("/proc/none/cache")) == "2 True"


@pytest.mark.parametrize(
    ("trigger", "what"),
    [
        ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("label a", "LABEL must have two arguments"),
        ("RUN [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
    ],
)
def test_a_malformed_trigger_is_refused_where_it_is_written(trigger: str, what: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(Source("Dockerfile", f"FROM a\nONBUILD {trigger}"))

    assert caught.value.what == what
    assert caught.value.span is not None
    assert caught.value.span.start.line == 2


@pytest.mark.parametrize(
    "trigger", ["ENV a b c", 'LABEL a="b c"', "RUN [ -e x ]", "RNU x", "FOO []"]
)
def test_what_a_trigger_means_is_seen_when_it_fires(trigger: str) -> None:
    parsed = parse(Source("Dockerfile", f"FROM a\nONBUILD {trigger}"))

    assert len(parsed.stages[0].instructions) == 1
