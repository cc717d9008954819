"""What is begun before the program is loaded: a guess that `build` checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.cli import argv
from builder.cli.commands import build
from builder.cli.session import Session
from builder.cli.start import guessed, guessed_forerunner, is_build
from builder.engine.forerunner import Forerunner
from builder.engine.settings import Settings
from tests.children import children


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], None),
        (["."], (".", None)),
        (["-q", "."], (".", None)),
        (["-t", "name", "dir"], ("dir", None)),
        (["dir", "-t", "name"], ("dir", None)),
        (["-f", "Other", "dir"], ("dir", "Other")),
        (["--file=Other", "dir"], ("dir", "Other")),
        (["dir", "--file", "Other"], ("dir", "Other")),
        (["--file", "Other"], ("Other", "Other")),  # no directory, so none is started
        (["dir", "-f"], ("dir", None)),
        (["--check", "."], None),
        (["--call=outline", "."], None),
    ],
)
def test_context_and_dockerfile_are_guessed(
    words: list[str], expected: tuple[str, str | None] | None
) -> None:
    assert guessed(words) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["build", "."], True),
        (["image", "build", "."], True),
        (["--root", "dir", "build", "."], True),
        (["run", "busybox", "build", "."], False),
        (["rmi", "build"], False),
        (["images"], False),
        ([], False),
    ],
)
def test_a_build_is_told_from_a_word(words: list[str], *, expected: bool) -> None:
    assert is_build(words) is expected


def test_no_file_of_ours_takes_the_number_of_a_closed_stream() -> None:
    code = "from builder.cli.start import open_standard_streams as o; o(); import os; "
    code += "print([os.readlink(f'/proc/self/fd/{fd}') for fd in (0, 2)])"
    words = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-c", code]

    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout

    assert said == "['/dev/null', '/dev/null']\n"


def test_a_right_guess_is_recognised(tmp_path: Path) -> None:
    context, state = str(tmp_path / "context"), str(tmp_path / "state")
    for path in (context, f"{context}/other", state):
        os.mkdir(path)
        Path(path, "Dockerfile").write_text("FROM scratch\n")

    forerunner = guessed_forerunner(["--root", f"{state}/", "build", "-q", context])

    assert forerunner is not None
    assert forerunner.is_for(context, None, state)
    assert forerunner.is_for(context, f"{context}/Dockerfile", state)
    assert not forerunner.is_for(f"{context}/other", None, state)
    assert not forerunner.is_for(context, f"{state}/Dockerfile", state)
    assert not forerunner.is_for(context, None, context)
    forerunner.close()


def test_without_a_context_there_is_no_guess() -> None:
    assert guessed_forerunner(["--root", "/nonexistent", "build"]) is None


@pytest.mark.parametrize("name", ["context", "other"])
def test_the_build_takes_a_forerunner_over_or_ends_it(tmp_path: Path, name: str) -> None:
    for folder in ("context", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "state").mkdir()
    state = str(tmp_path / "state")
    before = children()
    early = Forerunner.start(str(tmp_path / name), None, state)
    session = Session(Settings(root=state), {}, forerunner=early)
    arguments = argv.parse(build.COMMAND, [str(tmp_path / "context")])

    taken = build._forerunner(arguments, session)

    assert (taken is early) == (name == "context")
    taken.close()
    assert children() == before
