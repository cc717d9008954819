"""builder.cli.values: sizes, durations, pairs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.cli import values
from builder.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("64m", 64 << 20), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("100", 100), ("10b", 10),
     ("5KB", 5120), ("1 M", 1 << 20), ("0", 0)],
)  # fmt: skip
def test_sizes_are_powers_of_1024(text: str, size_bytes: int) -> None:
    assert values.size_bytes(text) == size_bytes


@pytest.mark.parametrize("text", ["", "m", "1x", "1.2.3m", "-5", "1mm", "ib"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        values.size_bytes(text)


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1h", 3600), ("1.5h", 5400), ("2", 2),
     ("-1s", -1), ("0", 0), ("3us", 3e-6)],
)  # fmt: skip
def test_durations_are_gos(text: str, duration_s: float) -> None:
    assert values.duration_s(text) == pytest.approx(duration_s)


@pytest.mark.parametrize("text", ["", "s", "1x", "1m30", "10 s", "-", "."])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        values.duration_s(text)


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_a_usage_error(text: str) -> None:
    for read in (values.size_bytes, values.duration_s, values.csv_pairs):
        try:
            read(text)
        except UsageError:
            continue


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n")), min_size=1))
def test_quoted_fields_survive(fields: list[str]) -> None:
    line = ",".join('"' + field.replace('"', '""') + '"' for field in fields)

    assert values.csv_fields(line) == fields


def test_filters_are_collected_by_key() -> None:
    found = values.filters(["label=a", "label=b=c", "dangling=true"])

    assert found == {"label": ("a", "b=c"), "dangling": ("true",)}
