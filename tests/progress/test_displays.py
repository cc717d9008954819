"""builder.progress: what plain, JSON and quiet displays say; what they never let through."""

import json
import os
import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.events import Cached, Event, Failed, Finished, Log, Progress, Started, Warned
from builder.progress.display import display
from builder.progress.text import Lines, seconds, shown, size

SECOND_NS = 1_000_000_000


def displayed(kind: str, events: Sequence[Event]) -> str:
    receiving, sending = os.pipe()
    parts: list[bytes] = []
    with open(receiving, "rb") as reader:
        thread = threading.Thread(target=lambda: parts.append(reader.read()))
        thread.start()
        with display(kind, sending, {}) as sink:
            for event in events:
                sink(event)
        os.close(sending)
        thread.join()
    return parts[0].decode()


def test_plain_lines_carry_their_steps_number() -> None:
    text = displayed(
        "auto",
        [
            Cached("a", "[internal] load"),
            Started("b", "[1/2] RUN make", 5 * SECOND_NS),
            Started("c", "[2/2] RUN test", 5 * SECOND_NS),
            Log("b", "stdout", b"one\ntw", 5 * SECOND_NS + 214_000_000),
            Log("c", "stderr", b"x\n", 6 * SECOND_NS),
            Log("b", "stdout", b"o\nthree", 6 * SECOND_NS),
            Finished("b", 6 * SECOND_NS + 300_000_000),
            Failed("c", "exit code: 1", 7 * SECOND_NS),
            Warned("careful"),
        ],
    )

    assert text == (
        "#1 [internal] load\n#1 CACHED\n\n#2 [1/2] RUN make\n#3 [2/2] RUN test\n#2 0.214 one\n"
        "#3 1.000 x\n#2 1.000 two\n#2 1.300 three\n#2 DONE 1.3s\n\n#3 ERROR: exit code: 1\n\n"
        "warning: careful\n"
    )


def test_plain_reports_the_end_of_a_transfer_once() -> None:
    moved = [Progress("a", "layer", n, 2_000_000) for n in (0, 1_000_000, 2_000_000, 2_000_000)]

    text = displayed("plain", [Started("a", "pull", 0), *moved])

    assert text == "#1 pull\n#1 layer 2.00MB done\n"


def test_quiet_says_nothing() -> None:
    assert displayed("quiet", [Started("a", "x", 0), Warned("y")]) == ""


def test_json_lines_hold_every_event() -> None:
    events: list[Event] = [
        Started("a", "RUN x", 1),
        Log("a", "stdout", "ä\x1b".encode(), 2),
        Log("a", "stderr", b"\xff", 3),
        Finished("a", 4),
    ]

    rows = [json.loads(line) for line in displayed("rawjson", events).splitlines()]

    assert [row["type"] for row in rows] == ["started", "log", "log", "finished"]
    assert rows[1]["text"] == "ä\x1b"
    assert rows[2]["base64"] == "/w=="


def test_an_unknown_display_is_a_usage_error() -> None:
    with pytest.raises(UsageError), display("pretty", 2, {}):
        pass


EVENTS = st.one_of(
    st.builds(Started, st.sampled_from("ab"), st.text(), st.integers(0, 10**12)),
    st.builds(Cached, st.sampled_from("ab"), st.text()),
    st.builds(
        Log,
        st.sampled_from("ab"),
        st.sampled_from(["stdout", "stderr"]),
        st.binary() | st.sampled_from([b"\x1b]0;x\x07\n", b"\x1b[31mred\n", b"50%\r100%\n"]),
        st.integers(0, 10**12),
    ),
    st.builds(Progress, st.sampled_from("ab"), st.text(), st.integers(0), st.integers(0)),
    st.builds(Warned, st.text()),
    st.builds(Finished, st.sampled_from("ab"), st.integers(0, 10**12)),
    st.builds(Failed, st.sampled_from("ab"), st.text(), st.integers(0, 10**12)),
)


@given(st.lists(EVENTS, max_size=8))
def test_no_event_steers_the_readers_terminal(events: list[Event]) -> None:
    for kind in ("plain", "rawjson"):
        text = displayed(kind, events)

        assert all(character in "\n\t" or character.isprintable() for character in text)


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_lines_are_those_of_the_whole_stream(chunks: list[bytes]) -> None:
    lines = Lines()

    found = [line for chunk in chunks for line in lines.take(chunk)]
    found += lines.end()

    whole = b"".join(chunks).split(b"\n")
    assert found == (whole[:-1] if whole[-1] == b"" else whole)


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    lines = Lines()

    assert sum(len(line) for line in lines.take(b"x" * 100_000)) == 100_000


@pytest.mark.parametrize(
    ("line", "plain", "coloured"),
    [
        (b"plain", "plain", "plain"),
        (b"\x1b[1;31mred\x1b[0m", "red", "\x1b[1;31mred\x1b[0m\x1b[0m"),
        (b"\x1b[2Jx", "\\x1b[2Jx", "\\x1b[2Jx"),
        (b"10%\r90%\r", "90%", "90%"),
        (b"\xff", "\\xff", "\\xff"),
    ],
)
def test_colours_are_kept_and_nothing_else(line: bytes, plain: str, coloured: str) -> None:
    assert shown(line, has_colours=False) == plain
    assert shown(line, has_colours=True) == coloured


def test_durations_and_sizes_are_short() -> None:
    assert (seconds(1_340_000_000), seconds(-5)) == ("1.3s", "0.0s")
    assert [size(n) for n in (5, 1_230_000, 5 * 10**12)] == ["5B", "1.23MB", "5.00TB"]


def test_sinks_take_events_from_many_threads() -> None:
    receiving, sending = os.pipe()

    def work(sink: Callable[[Event], None], step: str) -> None:
        sink(Started(step, f"step {step}", 0))
        for number in range(50):
            sink(Log(step, "stdout", b"%d\n" % number, 0))
        sink(Finished(step, 0))

    with open(receiving, "rb") as reader:
        with display("plain", sending, {}) as sink:
            threads = [threading.Thread(target=work, args=(sink, str(n))) for n in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        os.close(sending)
        lines = reader.read().decode().splitlines()
    assert sum(" DONE " in line for line in lines) == 4
    assert len(lines) == 4 * (1 + 50 + 2)
