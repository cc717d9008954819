from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder import jsonvalues
from builder.errors import StoreError
from builder.values import NamedTuple


class Inner(NamedTuple):
    name: str
    flag: bool = False


class Outer(NamedTuple):
    text: str
    number: int = 0
    share: float = 0.0
    maybe: int | None = None
    kind: Literal["a", "b"] = "a"
    items: tuple[Inner, ...] = ()
    pair: tuple[str, int] = ("", 0)
    labels: dict[str, str] = {}  # noqa: RUF012 - never changed


inners = st.builds(Inner, st.text(), st.booleans())
outers = st.builds(
    Outer,
    st.text(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none() | st.integers(),
    st.sampled_from(["a", "b"]),
    st.lists(inners, max_size=3).map(tuple),
    st.tuples(st.text(), st.integers()),
    st.dictionaries(st.text(), st.text(), max_size=3),
)


@given(outers)
def test_a_value_survives_being_written_and_read(value: Outer) -> None:
    text = jsonvalues.dumps(value)

    assert jsonvalues.decode(Outer, jsonvalues.loads(text)) == value


def test_missing_fields_take_their_defaults_and_unknown_ones_are_ignored() -> None:
    value = jsonvalues.decode(Outer, jsonvalues.loads('{"text":"x","later":[1]}'))

    assert value == Outer("x")


@pytest.mark.parametrize("text", ['{"text":1}', "[]", '{"text":"x","items":[{"name":null}]}', "x"])
def test_what_does_not_fit_is_an_error(text: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        jsonvalues.decode(Outer, jsonvalues.loads(text))


def test_a_file_is_replaced_as_a_whole_and_read_back(tmp_path: Path) -> None:
    path = str(tmp_path / "value.json")

    jsonvalues.write(Outer("one"), path)
    jsonvalues.write(Outer("two"), path)

    assert jsonvalues.read(Outer, path) == Outer("two")
    assert [entry.name for entry in tmp_path.iterdir()] == ["value.json"]


def test_an_absent_file_is_none_and_a_damaged_one_an_error(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    assert jsonvalues.read(Outer, str(path)) is None

    path.write_text('{"text":')

    with pytest.raises(StoreError, match="damaged"):
        jsonvalues.read(Outer, str(path))
