import signal

import pytest

from builder.dockerfile.signals import is_signal


@pytest.mark.parametrize("name", sorted(item.name for item in signal.Signals))
def test_the_names_of_this_system_are_signals(name: str) -> None:
    assert is_signal(name)
    assert is_signal(name.removeprefix("SIG").lower())


@pytest.mark.parametrize("text", ["9", "SIGRTMIN+3", "RTMAX-14", "-1", "64"])
def test_numbers_and_real_time_signals_are_signals(text: str) -> None:
    assert is_signal(text)


@pytest.mark.parametrize("text", ["", "FOO", "0", "SIG", "RTMIN+16", "RTMIN+03", "9" * 30, "²"])
def test_other_words_are_not(text: str) -> None:
    assert not is_signal(text)
