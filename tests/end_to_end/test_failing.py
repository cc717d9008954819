"""What is said when something is wrong, and what an interrupted build leaves: nothing."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.end_to_end.processes import eventually, groups_of, processes_with, started
from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces


def test_a_failed_step_repeats_its_last_lines_and_its_status(site: Site) -> None:
    built = site.build("FROM busybox\nRUN echo before; echo problem >&2; exit 42\n", status=1)

    summary = built.stderr[built.stderr.rindex("#4 ERROR") :]
    assert "exit code: 42" in summary
    assert "problem" in summary
    assert ">>> RUN echo before" in summary
    assert "Dockerfile:2" in summary


def test_a_command_that_is_not_there_is_named(site: Site) -> None:
    built = site.build("FROM busybox\nRUN no-such-program\n", status=1)

    assert "exit code: 127" in built.stderr
    assert "no-such-program" in built.stderr


def test_a_later_failure_keeps_the_earlier_steps(site: Site) -> None:
    site.build("FROM busybox\nRUN echo fine > /a\nRUN false\n", status=1)

    again = site.build("FROM busybox\nRUN echo fine > /a\nRUN true\n")

    assert again.is_cached("RUN echo fine")


@pytest.mark.parametrize(
    ("dockerfile", "line", "words"),
    [
        ("FROM busybox\n\nCOYP a /\n", 3, ["unknown instruction", "COPY"]),
        ("FROM busybox\nCOPY --chwon=1 a /\n", 2, ["--chwon", "--chown"]),
        ("FROM busybox\nCOPY absent /\n", 2, ["/absent", "not found"]),
        ("FROM busybox\nCOPY [b /x/\n", 2, ["syntax error in pattern", "^^"]),
        ("FROM busybox\nCOPY --exclude=[b . /x/\n", 2, ["syntax error in pattern", "^^"]),
        ("FROM busybox\nRUN <<EOF\necho\n", 2, ["EOF"]),
        ("FROM busybox\nENV a\n", 2, ["ENV"]),
        ("FROM busybox\nUSER nobody-here\nRUN true\n", 3, ["nobody-here"]),
        ("RUN true\n", 1, ["FROM"]),
    ],
)
def test_an_error_shows_the_line(site: Site, dockerfile: str, line: int, words: list[str]) -> None:
    built = site.build(dockerfile, status=1)

    marked = re.findall(r"^ *(\d+) \| >>> ", built.stderr, re.MULTILINE)
    assert str(line) in marked
    for word in words:
        assert word in built.stderr


def test_a_missing_dockerfile_or_context_is_named(site: Site) -> None:
    done = site.run("build", str(site.context), status=1)
    assert b"Dockerfile" in done.stderr

    done = site.run("build", str(site.directory / "nowhere"), status=1)
    assert b"nowhere" in done.stderr


def test_an_unknown_flag_or_command_gets_a_suggestion(site: Site) -> None:
    done = site.run("build", "--tagg=x", str(site.context), status=2)
    assert b"--tag" in done.stderr

    done = site.run("biuld", status=2)
    assert b"build" in done.stderr


def test_a_broken_archive_leaves_nothing(site: Site) -> None:
    site.write("good")
    path = site.directory / "app.tar"
    site.build("FROM busybox\nCOPY good /\n", f"--output=type=oci,dest={path}")
    before = site.text("images", "--quiet")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    site.run("load", "--input", str(path), "--tag", "broken", status=1)

    assert site.text("images", "--quiet") == before
    assert list((site.state / "ingest").iterdir()) == []


def test_a_failed_output_leaves_no_file(site: Site) -> None:
    out = site.directory / "out.tar"

    site.build("FROM busybox\nRUN false\n", f"--output=type=oci,dest={out}", status=1)

    assert not list(site.directory.glob("out*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing_behind(site: Site, number: int) -> None:
    seconds = f"86400.{os.getpid()}{int(number)}"
    dockerfile = site.write("Dockerfile", f"FROM busybox\nRUN touch /half; sleep {seconds}\n")
    words = ["build", "--progress=plain", "--tag=half", str(dockerfile.parent)]
    with started(site, *words) as process:
        assert eventually(lambda: bool(processes_with(seconds)), timeout_s=30)
        groups = {group for pid in processes_with(seconds) for group in groups_of(pid)}
        process.send_signal(number)

        process.communicate(timeout=20)

    assert process.returncode == 128 + number
    assert processes_with(seconds) == []
    assert not [group for group in groups if group.exists() and group.name != "builder"]
    assert str(site.state) not in Path("/proc/self/mountinfo").read_text()
    for name in ("ingest", "leases"):
        assert list((site.state / name).iterdir()) == []
    assert site.text("images", "--quiet", "half") == ""
    site.build(f"FROM busybox\nRUN test ! -e /half\nRUN echo {seconds}\n")


def test_a_killed_build_takes_its_steps_along_and_the_next_one_cleans_up(site: Site) -> None:
    seconds = f"86400.{os.getpid()}9"
    site.write("Dockerfile", f"FROM busybox\nRUN touch /half; sleep {seconds}\n")
    with started(site, "build", "--progress=plain", str(site.context)) as process:
        assert eventually(lambda: bool(processes_with(seconds)), timeout_s=30)

        process.kill()

        process.communicate(timeout=20)
    assert eventually(lambda: not processes_with(seconds))
    site.build("FROM busybox\nRUN test ! -e /half\n")
