import copy
import inspect
import pickle
from typing import NamedTuple as Standard

import pytest

from builder.values import NamedTuple


class Point(NamedTuple):
    """A place."""

    x: int
    y: int = 2
    label: "str | None" = None

    @property
    def total(self) -> int:
        return self.x + self.y


class Same(Standard):
    x: int
    y: int = 2
    label: "str | None" = None


class Named(Point):
    """A subclass of a named tuple is one too."""


class Nothing(NamedTuple):
    """No fields at all."""


def test_it_is_constructed_as_the_standard_one() -> None:
    assert tuple(Point(1)) == tuple(Same(1)) == (1, 2, None)
    assert tuple(Point(1, label="a")) == tuple(Same(1, label="a"))
    assert Nothing() == ()
    assert Named(1, 3).total == 4


def test_wrong_arguments_are_a_type_error() -> None:
    for words, named in (((), {}), ((1, 2, None, 4), {}), ((1,), {"z": 1}), ((1,), {"x": 1})):
        with pytest.raises(TypeError):
            Point(*words, **named)  # type: ignore[arg-type]


class Pair(NamedTuple):
    first: int
    second: int = 0


class Couple(NamedTuple):
    """As many fields as a pair, by other names."""

    left: str = "l"
    right: str = "r"


class Wide(NamedTuple):
    a: int
    b: int
    c: int
    d: int
    e: int
    f: int = 6
    g: int = 7


def test_classes_with_as_many_fields_have_constructors_of_their_own() -> None:
    assert Pair(1, second=2) == (1, 2)
    assert Couple(right="x") == ("l", "x")
    assert Pair(first=3) == (3, 0)
    assert Couple() == ("l", "r")
    assert Wide(1, 2, 3, 4, e=5, g=0) == (1, 2, 3, 4, 5, 6, 0)
    assert list(inspect.signature(Couple).parameters) == ["left", "right"]


@pytest.mark.parametrize(
    ("words", "named", "said"),
    [
        ((), {}, r"Pair.__new__\(\) missing 1 required positional argument: 'first'"),
        (
            (1, 2, 3),
            {},
            r"takes from 2 to 3 positional arguments but 4 were given",
        ),
        ((1,), {"third": 1}, r"Pair.__new__\(\) got an unexpected keyword argument 'third'"),
        ((1,), {"first": 1}, r"Pair.__new__\(\) got multiple values for argument 'first'"),
    ],
)
def test_an_error_names_the_class_and_the_field(
    words: tuple[int, ...], named: dict[str, int], said: str
) -> None:
    for _attempt in range(2):  # the first call makes the constructor
        with pytest.raises(TypeError, match=said):
            Pair(*words, **named)


def test_it_has_the_methods_of_the_standard_one() -> None:
    point = Point(1, 2, "a")

    assert point._replace(y=5) == (1, 5, "a")
    assert type(point._replace(y=5)) is Point
    assert point._asdict() == {"x": 1, "y": 2, "label": "a"}
    assert repr(point) == "Point(x=1, y=2, label='a')"
    assert Point._make([1, 2, None]) == Point(1)
    assert Point._fields == Same._fields
    assert Point._field_defaults == Same._field_defaults
    assert Point.__doc__ == "A place."
    with pytest.raises(ValueError, match="no fields"):
        point._replace(z=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Point._make([1])


def test_it_can_be_matched_copied_hashed_and_pickled() -> None:
    point = Point(1, 2, "a")
    found: object = None
    match point:
        case Point(x, _, label=label):
            found = (x, label)

    assert found == (1, "a")
    assert copy.copy(point) == copy.deepcopy(point) == pickle.loads(pickle.dumps(point)) == point
    assert hash(point) == hash((1, 2, "a"))
    assert isinstance(point, tuple)
