import subprocess
from pathlib import Path

import pytest

from builder.errors import UsageError
from builder.layers.mode import parse_mode


@pytest.mark.parametrize("text", ["0755", "755", "4755", "7", "07777", "0"])
def test_octal_modes_are_whole_modes(text: str) -> None:
    mode = parse_mode(text)

    assert mode is not None
    assert mode.applied(0o123, is_directory=False) == mode.of_parents == int(text, 8)


SYMBOLIC = [
    "u=rwX,go=rX",
    "+x",
    "a+x",
    "+w",
    "go-rwx",
    "u+s",
    "+t",
    "g=u",
    "o=g,u-x",
    "u+r-w",
    "ug+rw,o=",
    "=",
    "-x",
    "a=rX",
    "o+t",
]


@pytest.mark.parametrize("is_directory", [False, True])
@pytest.mark.parametrize("bits", [0o644, 0o755, 0o000, 0o6711, 0o1777])
@pytest.mark.parametrize("text", SYMBOLIC)
def test_symbolic_modes_agree_with_chmod(
    tmp_path: Path, text: str, bits: int, *, is_directory: bool
) -> None:
    path = tmp_path / "x"
    path.mkdir() if is_directory else path.touch()
    path.chmod(bits)
    script = 'umask 022; exec chmod -- "$0" "$1"'
    subprocess.run(["sh", "-c", script, text, path], check=True, capture_output=True)
    expected = path.stat().st_mode & 0o7777

    mode = parse_mode(text)

    assert mode is not None
    assert mode.of_parents == 0o755
    assert mode.applied(bits, is_directory=is_directory) == expected


@pytest.mark.parametrize("text", ["64a", "10000", "8", "u", "u=q", "z+x", ",", "u=gx", "+x,"])
def test_malformed_modes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="invalid chmod parameter: '"):
        parse_mode(text)


def test_no_value_is_no_mode() -> None:
    assert parse_mode("") is None
