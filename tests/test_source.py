from builder.errors import DockerfileError, render
from builder.source import Position, Source, Span
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
