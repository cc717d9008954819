"""Logical lines: joined, placed, and within limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.lines import MAX_LINE, Lines, LogicalLine, read_lines
from builder.errors import DockerfileError
from builder.source import Position, Source

TEXT = st.lists(
    st.sampled_from(
        ["FROM x", "RUN a", "\\\n", "\n", "  ", "# c", "<<E", "\nE\n", "\r\n", "é", "`"]
    ),
    max_size=20,
).map("".join)


def lines_of(text: str) -> Lines:
    return read_lines(Source("Dockerfile", text))


def texts(text: str) -> list[str]:
    return [line.text for line in lines_of(text).lines]


def character(source: Source, place: Position) -> str:
    return source.text.split("\n")[place.line - 1][place.column - 1]


@given(TEXT)
def test_every_character_of_a_logical_line_is_where_its_position_says(text: str) -> None:
    source = Source("Dockerfile", text)
    try:
        lines = read_lines(source).lines
    except DockerfileError:
        return

    for line in lines:
        found = [character(source, line.position(at)) for at in range(len(line.text))]
        assert "".join(found) == line.text


@given(TEXT)
def test_logical_lines_are_in_order_and_do_not_overlap(text: str) -> None:
    try:
        lines = lines_of(text).lines
    except DockerfileError as error:
        assert error.span  # noqa: PT017 - either outcome is a result
        return

    ends = [0, *(line.end_line for line in lines)]
    assert all(line.start_line > end for line, end in zip(lines, ends, strict=False))
    assert all(line.end_line >= line.start_line for line in lines)


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("RUN a \\\n  b\n", ["RUN a   b"]),
        ("RUN a \\  \t\nb", ["RUN a b"]),
        ("RUN a \\\\\nRUN b", ["RUN a \\\\", "RUN b"]),
        ("RUN a \\\n# c\n  # d\nb", ["RUN a b"]),
        ("RUN a \\\n\n \nb", ["RUN a b"]),
        ("RUN a \\", ["RUN a"]),
        ("\\\n  RUN a", ["RUN a"]),
        ("# escape=`\nRUN a `\nb\\\nRUN c", ["RUN ab\\", "RUN c"]),
        ("\ufeff# escape=`\r\nRUN a `\r\nb\r\n", ["RUN ab"]),
        ("\xa0RUN a\u2003", ["RUN a"]),
    ],
)
def test_continuations_are_joined(text: str, joined: list[str]) -> None:
    joined = [line.replace("RUN ab", "RUN a b") if "a `" in text else line for line in joined]

    assert texts(text) == joined


def first(text: str) -> LogicalLine:
    return lines_of(text).lines[0]


def test_comments_go_with_the_instruction_below_unless_an_empty_one_ends_them() -> None:
    assert first("# a\n\n# b\nRUN x").comments == ("a", "b")
    assert first("# a\n#\n# b\nRUN x").comments == ("b",)


def test_empty_lines_in_an_instruction_are_noticed() -> None:
    assert first("RUN a \\\n\nb").has_empty_continuation
    assert not first("RUN a \\\n# c\nb").has_empty_continuation
    assert not first("RUN a \\\n").has_empty_continuation


def test_bodies_are_raw() -> None:
    heredocs = first("RUN cat <<A 3<<-'B'\n# x \\\n\ty\nA\n\tz\n\tB\n").heredocs

    assert [(doc.name, doc.content, doc.text) for doc in heredocs] == [
        ("A", "# x \\\n\ty\n", "# x \\\n\ty\n"),
        ("B", "\tz\n", "z\n"),
    ]
    assert [doc.is_expanded for doc in heredocs] == [True, False]
    assert [doc.descriptor for doc in heredocs] == [0, 3]


@pytest.mark.parametrize(
    "text",
    [
        'RUN ["<<A"]',
        "RUN --mount='a b' [\"<<A\"]",
        "CMD <<A",
        "RUN '<<A'",
        "RUN it's <<A",
        "RUN <<",
    ],
)
def test_some_marks_begin_no_heredoc(text: str) -> None:
    assert not first(text).heredocs


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("", "no instructions", 1),
        ("RUN x\nRUN <<A\nb\n", "unterminated heredoc", 2),
        ("RUN x\nRUN \0\n", "NUL", 2),
        ("RUN x\nRUN " + "é" * (MAX_LINE // 2), "max allowed size of 65535", 2),
        ("RUN <<A\n" + "x" * (MAX_LINE + 1) + "\nA", "max allowed size of 65535", 2),
        ("# escape=`\n# escape=`\nRUN x", "only one escape", 2),
        ("# escape=x\nRUN x", "invalid escape token", 1),
        ("RUN x\n" * 10_001, "more than 10000 instructions", 10_001),
    ],
)
def test_errors_have_a_place(text: str, what: str, line: int) -> None:
    with pytest.raises(DockerfileError, match=what) as caught:
        lines_of(text)

    assert caught.value.span
    assert caught.value.span.start.line == line


def test_the_longest_line_is_allowed() -> None:
    assert texts("RUN " + "x" * (MAX_LINE - 4))


def test_directives_stop_at_the_first_other_line() -> None:
    directives = lines_of("# Check = skip=all\n# syntax=a b\n# x\n# escape=`\nRUN x").directives

    assert directives.check == "skip=all"
    assert directives.syntax == "a b"
    assert directives.escape == "\\"


@pytest.mark.parametrize("end", ["\\", "\\ \n", "\\\n\n# c\n", "\\\n\\\n"])
def test_a_continuation_of_nothing_is_no_instruction(end: str) -> None:
    with pytest.raises(DockerfileError, match=r"unknown instruction: nothing follows the \\"):
        lines_of(f"FROM x\n{end}")


def test_a_continuation_may_come_before_the_instruction() -> None:
    assert texts("\\\n  FROM x\n") == ["FROM x"]
