import resource

import pytest

from builder.errors import UsageError
from builder.kernel import rlimits


def test_numbers_are_the_systems() -> None:
    for name in ("nofile", "core", "nproc", "as", "stack", "memlock"):
        assert rlimits.NUMBERS[name] == getattr(resource, f"RLIMIT_{name.upper()}")


def test_values_are_read() -> None:
    assert rlimits.parse("nofile=10:20") == (7, 10, 20)
    assert rlimits.parse("nofile=10") == (7, 10, 10)
    assert rlimits.parse("core=-1") == (4, -1, -1)
    assert rlimits.parse("core=0:unlimited") == (4, 0, -1)


@pytest.mark.parametrize(
    "text", ["nofile", "nofile=", "nofile=a", "files=3", "nofile=5:4", "nofile=-1:4", "nofile=-2"]
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        rlimits.parse(text)
