from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile import history
from builder.oci.config import Healthcheck

SECOND = 1_000_000_000


def test_strings_are_quoted_as_go_does() -> None:
    text = 'a"b\\c\n\t\x00\x7fé\u200b\U000e0001\udcff'

    quoted = history.go_quote(text)

    assert quoted == r'"a\"b\\c\n\t\x00\x7fé\u200b\U000e0001\xff"'


def test_lists_have_spaces_and_no_commas() -> None:
    assert history.quoted_list(["a b", "c"]) == '["a b" "c"]'
    assert history.plain_list(["a b", "c"]) == "[a b c]"
    assert history.quoted_list([]) == "[]"


def test_durations_are_written_as_go_does() -> None:
    known = {
        0: "0s",
        1: "1ns",
        1_500: "1.5µs",
        1_500_000: "1.5ms",
        SECOND: "1s",
        90 * SECOND: "1m30s",
        300 * SECOND: "5m0s",
        3600 * SECOND: "1h0m0s",
        3601 * SECOND + 250_000_000: "1h0m1.25s",
        -SECOND: "-1s",
    }

    written = {value: history.duration(value) for value in known}

    assert written == known


@given(st.integers(min_value=1, max_value=10**15))
def test_a_duration_keeps_its_value(nanoseconds: int) -> None:
    text = history.duration(nanoseconds)

    assert _nanoseconds(text) == nanoseconds


def test_a_health_check_shows_all_its_fields() -> None:
    health = Healthcheck(("CMD-SHELL", "x"), 300 * SECOND, 3 * SECOND, 60 * SECOND, 0, 2)

    text = history.healthcheck(health)

    assert text == (
        "HEALTHCHECK {Test:[CMD-SHELL x] Interval:5m0s Timeout:3s StartPeriod:1m0s"
        " StartInterval:0s Retries:2}"
    )


def test_run_counts_declared_arguments_and_prefers_the_environment() -> None:
    text = history.run(("/bin/sh", "-c", "true"), {"A": "1", "B": ""}, {"A": "2", "C": "3"})

    assert text == "RUN |2 A=2 B= /bin/sh -c true"


def test_run_without_arguments_is_the_command() -> None:
    assert history.run(("echo", "hi"), {}, {"PATH": "/bin"}) == "RUN echo hi"


def test_copy_shows_flags_first() -> None:
    text = history.copy("COPY", [("parents", None), ("chown", "1:2")], ["a", "<<EOT", "/d/"])

    assert text == "COPY --parents --chown=1:2 a <<EOT /d/"


def _nanoseconds(text: str) -> int:
    from decimal import Decimal
    from re import findall

    sizes = {"ns": 1, "µs": 1000, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}
    parts = findall(r"([0-9.]+)(ns|µs|ms|s|m|h)", text)
    return int(sum(Decimal(number) * sizes[unit] for number, unit in parts))
