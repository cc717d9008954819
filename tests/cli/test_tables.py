"""builder.cli.tables: lists, objects, sizes and ages in docker's words."""

import json
import os
from collections.abc import Callable

import pytest

from builder.cli import tables
from builder.cli.session import Session
from builder.cli.tables import Column
from builder.engine.settings import Settings

ROWS = [{"ID": "abc", "Name": "one"}, {"ID": "defghi", "Name": "two\x1b[2J"}]
COLUMNS = (Column("ID", "ID"), Column("NAME", "Name"))


def printed(action: Callable[[Session], None]) -> str:
    receiving, sending = os.pipe()
    session = Session(Settings("/nonexistent"), {}, stdout=sending)
    action(session)
    os.close(sending)
    with open(receiving, encoding="utf-8") as reader:
        return reader.read()


def test_the_default_table_is_aligned_and_safe() -> None:
    text = printed(lambda session: tables.show(session, ROWS, COLUMNS))

    assert text == "ID       NAME\nabc      one\ndefghi   two\\x1b[2J\n"


def test_a_list_without_rows_is_its_heading() -> None:
    assert printed(lambda session: tables.show(session, [], COLUMNS)) == "ID   NAME\n"


def test_quiet_shows_one_key() -> None:
    text = printed(lambda session: tables.show(session, ROWS, COLUMNS, is_quiet=True))

    assert text == "abc\ndefghi\n"


def test_json_is_one_object_a_line() -> None:
    text = printed(lambda session: tables.show(session, ROWS, COLUMNS, format="json"))

    assert [json.loads(line) for line in text.splitlines()] == ROWS


def test_a_template_fills_each_row() -> None:
    text = printed(lambda s: tables.show(s, ROWS[:1], COLUMNS, format="{{.ID}}={{.Name}}"))

    assert text == "abc=one\n"


def test_objects_are_a_json_array() -> None:
    text = printed(lambda session: tables.inspect(session, [{"Id": "ä"}]))

    assert json.loads(text) == [{"Id": "ä"}]


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0B"), (999, "999B"), (1234, "1.23kB"), (5_000_000, "5MB")]
)
def test_sizes_have_few_digits(size_bytes: int, text: str) -> None:
    assert tables.human_size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"),
        (600, "10 minutes"), (4000, "About an hour"), (7200, "2 hours"), (172800, "2 days"),
        (86400 * 20, "2 weeks"), (86400 * 90, "3 months"), (86400 * 365 * 3, "3 years"),
    ],
)  # fmt: skip
def test_ages_are_dockers(seconds: float, text: str) -> None:
    assert tables.human_age(seconds) == text


def test_ids_are_shortened_with_and_without_algorithm() -> None:
    digest = "0123456789abcdef" * 4

    assert tables.short_id(f"sha256:{digest}") == tables.short_id(digest) == "0123456789ab"
