import pytest

from builder.dockerfile.modes import is_mode


@pytest.mark.parametrize("text", ["0", "755", "0755", "07777", "u=rwX,go=rX", "+x", "a-w+r", "g=u"])
def test_modes(text: str) -> None:
    assert is_mode(text)


@pytest.mark.parametrize("text", ["", "8", "10000", "64a", "x", "u", "u=rw,", "u=rz", "=ux", "0o7"])
def test_other_words_are_no_modes(text: str) -> None:
    assert not is_mode(text)
