from pathlib import Path

import pytest

from tests.dockerfile.goldens import cases, goldens


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_a_file_is_read_and_lowered_as_blessed(case: Path) -> None:
    texts = goldens(case)

    assert {path.name: path.read_bytes() for path in case.glob("*.txt")} == {
        name: text.encode("utf-8", "surrogateescape") for name, text in texts.items()
    }
    assert ("error.txt" in texts) == case.name.startswith("bad-")
