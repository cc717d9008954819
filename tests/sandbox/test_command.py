import errno
import os
from pathlib import Path

import pytest

from builder.errors import StartError
from builder.sandbox.command import exec_error, find_command
from builder.sandbox.spec import Directory, SandboxSpec


def _spec(name: str, path: str) -> SandboxSpec:
    return SandboxSpec(Directory("/"), (name,), env=(f"PATH={path}",))


def test_the_first_executable_in_the_path_wins(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/tool").mkdir()
    (tmp_path / "b/tool").touch(0o644)
    (tmp_path / "c/tool").touch(0o755)

    found = find_command(_spec("tool", f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c"))

    assert found == f"{tmp_path}/c/tool"


def test_a_name_with_a_slash_is_taken_as_it_is() -> None:
    assert find_command(_spec("./x/y", "/bin")) == "./x/y"


def test_without_a_path_the_usual_places_are_searched() -> None:
    assert os.path.basename(find_command(SandboxSpec(Directory("/"), ("sh",)))) == "sh"


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.ENOENT, 127),
        (errno.ENOTDIR, 127),
        (errno.EACCES, 126),
        (errno.ENOEXEC, 126),
        (errno.ELOOP, 126),
        (errno.E2BIG, 126),
        (errno.ETXTBSY, 126),
    ],
)
def test_statuses_are_those_of_a_shell(number: int, status: int) -> None:
    assert exec_error("x", number).exit_status == status


def test_a_directory_in_the_path_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()

    with pytest.raises(StartError, match="is a directory") as caught:
        find_command(_spec("tool", str(tmp_path)))

    assert caught.value.exit_status == 126
