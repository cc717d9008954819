from builder.errors import DockerfileError, render
from builder.source import Position, Source, Span, narrowed
from builder.text import nearest, visible

TEXT = "FROM busybox\n\nRNU true\n"


def test_an_error_shows_its_line_and_a_caret() -> None:
    source = Source("Dockerfile", TEXT)
    span = Span(source, Position(3, 5), Position(3, 9))

    shown = render(DockerfileError("no such word", span=span, fix="write RUN"))

    assert shown == (
        "Dockerfile:3\n"
        "--------------------\n"
        "   1 |     FROM busybox\n"
        "   2 |\n"
        "   3 | >>> RNU true\n"
        "     |         ^^^^\n"
        "   4 |\n"
        "--------------------\n"
        "error: no such word\n"
        "  fix: write RUN"
    )


def test_control_characters_are_shown_not_sent() -> None:
    assert visible("a\x1b]52;c;x\x07\u202e\x9b") == "a\\x1b]52;c;x\\x07\\u202e\\x9b"
    assert visible("plain\ttab é") == "plain\ttab é"


def test_a_near_word_is_suggested() -> None:
    assert nearest("RNU", ["RUN", "COPY"]) == "RUN"
    assert nearest("xyzzy", ["RUN", "COPY"]) is None


def test_a_word_is_found_behind_the_keyword_and_where_it_stands_alone() -> None:
    source = Source("Dockerfile", "FROM busybox\nCOPY --from=a ab a \\\n  USER b\n")
    span = Span(source, Position(2, 1), Position(4, 1))

    assert narrowed(span, "a") == Span(source, Position(2, 13), Position(2, 14))
    assert narrowed(span, "b") == Span(source, Position(3, 8), Position(3, 9))
    assert narrowed(span, "OPY") == Span(source, Position(2, 2), Position(2, 5))
    assert narrowed(span, "COPY") == narrowed(span, "nowhere") == narrowed(span, "") == span


def test_a_word_in_an_instruction_of_several_lines_gets_carets() -> None:
    source = Source("Dockerfile", "ENV a=b \\\n  c=' d=e\n")
    span = Span(source, Position(1, 1), Position(3, 1))

    shown = render(DockerfileError("no quote", span=span, word="c='"))

    assert shown == (
        "Dockerfile:1\n"
        "--------------------\n"
        "   1 | >>> ENV a=b \\\n"
        "   2 | >>>   c=' d=e\n"
        "     |       ^^^\n"
        "   3 |\n"
        "--------------------\n"
        "error: no quote"
    )
