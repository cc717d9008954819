import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.text import InvalidFields, csv_fields


def test_a_line_is_split_at_commas_outside_of_quotes() -> None:
    assert csv_fields('a=1,"b,""c""=2",') == ["a=1", 'b,"c"=2', ""]


@pytest.mark.parametrize(
    ("line", "what"),
    [('a"b', "bare"), ('"a', "does not end"), ('"a"b,c', "text follows")],
)
def test_quotes_out_of_place_are_refused(line: str, what: str) -> None:
    with pytest.raises(InvalidFields, match=what):
        csv_fields(line)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_quoted_fields_round_trip(fields: list[str]) -> None:
    line = ",".join('"' + field.replace('"', '""') + '"' for field in fields)

    assert csv_fields(line) == fields


@given(st.text(alphabet='a,"=', max_size=12))
def test_any_line_is_split_or_refused(text: str) -> None:
    try:
        fields = csv_fields(text)
    except InvalidFields:
        return

    assert fields
