"""The answer to an unchanged build: given from the state file, and only while all is as it was."""

import marshal
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import clean_environment

ASK = """
import sys
from builder.cli import fast
status = fast.answer(sys.argv[1:])
sys.exit(9 if status is None else status)
"""
Program = Callable[..., "subprocess.CompletedProcess[bytes]"]


class Context:
    """A context that was built from nothing once."""

    def __init__(self, base: Path, builder: Program) -> None:
        self.base = base
        self.path = base / "context"
        self.path.mkdir()
        self._builder = builder
        (self.path / "Dockerfile").write_text("FROM scratch\nCOPY a d /\n")
        (self.path / "a").write_text("a")
        (self.path / "d").mkdir()
        (self.path / "d/b").write_text("b")
        time.sleep(0.05)  # what has just changed is not trusted
        self.words: tuple[str, ...] = ("build", "--quiet", str(self.path))
        self.answer = self.build()

    def build(self) -> bytes:
        done = self._builder(*self.words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def asked(self) -> bytes | None:
        """Ask for the answer from memory; None if there is none."""
        done = subprocess.run(
            [sys.executable, "-X", "utf8", "-c", ASK, *self.words],
            check=False,
            capture_output=True,
            cwd=self.base,
            env={**clean_environment(), "BUILDER_ROOT": str(self.base / "state")},
        )
        assert done.returncode in {0, 9}, done.stderr
        return None if done.returncode else done.stdout

    def wait(self) -> None:
        """Wait for the state file, which is written when the build has answered."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if any(name.isalnum() for name in _names(self.base / "state/fast")):
                return
            time.sleep(0.02)
        raise AssertionError("there is no state file")


def _names(directory: Path) -> list[str]:
    return os.listdir(directory) if directory.is_dir() else []


@pytest.fixture
def context(tmp_path: Path, builder: Program) -> Context:
    made = Context(tmp_path, builder)
    made.wait()
    return made


pytestmark = pytest.mark.namespaces


def test_an_unchanged_build_is_answered(context: Context) -> None:
    assert context.asked() == context.answer


def test_a_changed_file_is_not_overlooked(context: Context) -> None:
    (context.path / "d/b").write_text("c")

    assert context.asked() is None
    assert context.build() != context.answer


def test_what_changed_last_is_looked_at_first(context: Context) -> None:
    for number in range(1200):
        path = context.path / f"d/{number:04d}"
        path.write_text(f"{number}")
        os.utime(path, (0, number))
    newest = context.path / "d/0100"
    os.utime(newest, (0, 5000))
    time.sleep(0.05)
    state = context.base / "state/fast"
    before = {path.name: path.stat().st_ino for path in state.iterdir()}
    context.build()
    deadline = time.monotonic() + 20
    while before == {path.name: path.stat().st_ino for path in state.iterdir()}:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (kept,) = (path for path in state.iterdir() if path.name.isalnum())

    files = [path for path, _status in marshal.loads(kept.read_bytes())[3]]

    assert context.asked() is not None
    assert os.fsencode(newest) in files
    assert len(files) < 100
    newest.write_text("changed")
    assert context.asked() is None


def test_new_and_removed_files_are_not_overlooked(context: Context) -> None:
    (context.path / "d/new").touch()
    assert context.asked() is None

    (context.path / "d/new").unlink()
    (context.path / "a").unlink()
    assert context.asked() is None


def test_a_changed_dockerfile_or_ignore_file_is_not_overlooked(context: Context) -> None:
    (context.path / ".dockerignore").write_text("d/b\n")

    assert context.asked() is None


def test_another_command_line_is_another_question(context: Context) -> None:
    context.words = (*context.words, "--no-cache")

    assert context.asked() is None


def test_changed_images_end_it(context: Context, builder: Program) -> None:
    assert builder("tag", context.answer.decode().strip(), "other").returncode == 0

    assert context.asked() is None


def test_what_had_just_changed_when_it_was_read_is_not_kept(
    tmp_path: Path, builder: Program
) -> None:
    context = Context(tmp_path, builder)
    context.wait()
    future_s = time.time() + 3600
    os.utime(context.path / "a", (future_s, future_s))

    context.build()
    time.sleep(1)

    assert context.asked() is None


def test_a_damaged_state_file_is_no_answer(context: Context) -> None:
    for path in (context.base / "state/fast").iterdir():
        path.write_bytes(path.read_bytes()[:50])

    assert context.asked() is None
