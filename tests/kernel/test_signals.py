import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import UsageError
from builder.kernel import signals


@given(st.integers(1, 64))
def test_a_number_is_itself(number: int) -> None:
    assert signals.parse(str(number)) == number


@pytest.mark.parametrize("name", list(signal.Signals))
def test_the_systems_names_are_known(name: signal.Signals) -> None:
    assert signals.parse(name.name) == name.value


@pytest.mark.parametrize("text", ["SIGTERM", "term", "Term", "15", " TERM "])
def test_a_signal_has_many_spellings(text: str) -> None:
    assert signals.parse(text) == signal.SIGTERM


@pytest.mark.parametrize("text", ["RTMIN+3", "SIGRTMIN+3", "rtmax-27"])
def test_real_time_signals_count_from_either_end(text: str) -> None:
    assert signals.parse(text) == 37


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "SIGNOPE", "RTMIN+31", "RTMAX-", "9x", "٩"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        signals.parse(text)
