"""builder.cli.main: exit statuses, errors, streams, locales, imports; the real program."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Program = Callable[..., "subprocess.CompletedProcess[bytes]"]

HEAVY = (
    "asyncio", "click", "concurrent.futures", "dataclasses", "http.client", "importlib.metadata",
    "inspect", "lark", "logging", "pathlib", "pyzstd", "ssl", "subprocess", "tarfile", "tqdm",
    "urllib.request", "urllib3",
)  # fmt: skip


def python(code: str, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a fresh interpreter that can import the program."""
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, **environ},
    )


def test_version_is_short_and_long(builder: Program) -> None:
    assert builder("--version").stdout.startswith(b"builder version ")
    assert b"Python:" in builder("version").stdout


def test_without_a_command_help_goes_to_standard_error(builder: Program) -> None:
    ended = builder()

    assert (ended.returncode, ended.stdout) == (2, b"")
    assert b"Usage: builder [OPTIONS] COMMAND" in ended.stderr


def test_help_is_a_result(builder: Program) -> None:
    for words in (["--help"], ["help"], ["build", "--help"], ["image", "--help"]):
        ended = builder(*words)

        assert (ended.returncode, ended.stderr) == (0, b"")
        assert ended.stdout.startswith(b"Usage: builder")


@pytest.mark.parametrize(
    ("words", "said", "status"),
    [
        (["biuld", "."], b"Did you mean 'build'?", 2),
        (["image", "taag"], b"Did you mean 'tag'?", 2),
        (["build", "--targt", "x", "."], b"Did you mean '--target'?", 2),
        (["build"], b"Missing argument", 2),
        (["build", ".", "more"], b"unexpected extra argument (more)", 2),
        (["build", "--progress=plian", "."], b"Did you mean 'plain'?", 2),
        (["build", ".", "--target"], b"requires an argument", 2),
        (["--debgu"], b"No such option", 2),
        (["build", "--platform", "a/b/c/d", "."], b"error: ", 2),
        (["run", "--rmm", "x"], b"No such option", 125),
        (["run", "--rm", "--restart=always", "x"], b"exclude each other", 125),
        (["run"], b"Missing argument", 125),
    ],
)
def test_wrong_words_are_explained(
    builder: Program, words: list[str], said: bytes, status: int
) -> None:
    ended = builder(*words)

    assert (ended.returncode, ended.stdout) == (status, b"")
    assert said in ended.stderr
    assert b"Traceback" not in ended.stderr


def test_control_characters_of_arguments_are_not_echoed(builder: Program) -> None:
    ended = builder("build", "--output", "type=\x1b[2J", ".")

    assert b"\x1b" not in ended.stderr


def test_a_name_that_is_no_text_is_survived(builder: Program) -> None:
    ended = builder(os.fsdecode(b"\xff\xfe"))

    assert ended.returncode == 2
    assert b"No such command" in ended.stderr


@pytest.mark.parametrize("locale", ["C", "POSIX", "de_DE.ISO-8859-1", "nonsense"])
def test_output_is_utf8_in_any_locale(builder: Program, locale: str) -> None:
    ended = builder("größe", LC_ALL=locale, LANG=locale)

    assert "größe".encode() in ended.stderr


def test_a_closed_standard_output_takes_no_descriptor(tmp_path: Path) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-c", '"$0" -m builder version >&- 2>&- <&-', sys.executable],
        check=False,
        timeout=30,
        cwd=tmp_path,
        env={**os.environ, "BUILDER_ROOT": str(tmp_path), "PYTHONPATH": str(repository())},
    )

    assert ended.returncode == 0


def test_a_gone_reader_ends_the_program_as_sigpipe_would(tmp_path: Path) -> None:
    receiving, sending = os.pipe()
    os.close(receiving)

    ended = subprocess.run(
        [sys.executable, "-m", "builder", "version"],
        check=False,
        stdout=sending,
        stderr=subprocess.PIPE,
        timeout=30,
        env={**os.environ, "BUILDER_ROOT": str(tmp_path), "PYTHONPATH": str(repository())},
    )
    os.close(sending)

    assert ended.returncode == 128 + signal.SIGPIPE
    assert ended.stderr == b""


def test_a_full_device_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "builder", "version"],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=30,
            env={**os.environ, "PYTHONPATH": str(repository())},
        )

    assert ended.returncode == 1
    assert ended.stderr == b"error: write standard output: No space left on device\n"


def test_a_deleted_working_directory_is_no_bug(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    ended = subprocess.run(
        ["/bin/sh", "-c", 'rmdir "$PWD"; "$0" -P -m builder --root state version', sys.executable],
        check=False,
        capture_output=True,
        timeout=30,
        cwd=gone,
        env={**os.environ, "PYTHONPATH": str(repository())},
    )

    assert ended.returncode == 1
    assert b"the working directory has been deleted" in ended.stderr


def test_a_bug_saves_its_traceback(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from builder.cli import groups, main\n"
        "from builder.cli.options import Command\n"
        "def run(arguments, session): return 1 // 0\n"
        "groups.implementation = lambda module: groups.Implementation(Command('v', 's'), run)\n"
        "sys.exit(main.main(['version'], {'BUILDER_ROOT': sys.argv[1]}))\n"
    )

    ended = python(code, str(tmp_path), PYTHONPATH=str(repository()))

    assert ended.returncode == 70
    assert "builder has a bug: ZeroDivisionError" in ended.stderr
    [saved] = (tmp_path / "crashes").iterdir()
    assert "in run\n" in saved.read_text()
    assert str(saved) in ended.stderr


@pytest.mark.parametrize(
    ("first", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_the_first_signal_cancels(first: signal.Signals, status: int) -> None:
    with waiting_program("token.check()") as process:
        process.send_signal(first)

        assert process.wait(10) == status
        assert process.stderr is not None
        assert process.stderr.read() == "error: the build was cancelled\n"


def test_the_second_signal_kills() -> None:
    with waiting_program("continue") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert process.stdout.readline() == "cancelled\n"

        process.send_signal(signal.SIGINT)

        assert process.wait(10) == -signal.SIGINT


def test_an_ignored_signal_stays_ignored() -> None:
    with waiting_program(
        "token.check()", prepare="signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    ) as p:
        p.send_signal(signal.SIGHUP)
        p.send_signal(signal.SIGTERM)

        assert p.wait(10) == 128 + signal.SIGTERM


def waiting_program(reaction: str, prepare: str = "pass") -> "subprocess.Popen[str]":
    """Start a program that waits as a command does inside `session.engine()`."""
    code = f"""
import os, signal, sys, time
from builder.cli import groups, main
from builder.cli.options import Command
def run(arguments, session):
    token = session.token
    token.on_cancel(lambda: os.write(1, b"cancelled\\n"))
    with session.interrupts:
        os.write(1, b"ready\\n")
        while True:
            time.sleep(0.01)
            if token.is_cancelled:
                {reaction}
{prepare}
groups.implementation = lambda module: groups.Implementation(Command("v", "s"), run)
os._exit(main.main(["version"], {{"BUILDER_ROOT": "/nonexistent"}}))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(repository())},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("module", ["build", "run"])
def test_nothing_heavy_is_imported_before_the_work_begins(module: str) -> None:
    code = (
        "import sys\n"
        "from builder.cli import main, groups\n"
        f"groups.implementation({module!r})\n"
        "import builder.cli.build_request, builder.cli.run_request, builder.progress.display\n"
        "import builder.progress.plain, builder.progress.writer\n"
        f"print(*sorted(set(sys.modules) & {set(HEAVY)!r}))\n"
    )

    ended = python(code, PYTHONPATH=str(repository()))

    assert ended.stdout.split() == []


def repository() -> Path:
    return Path(__file__).resolve().parents[2]
