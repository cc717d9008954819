"""The program itself, end to end: what only a real container can show."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import clean_environment

pytestmark = [pytest.mark.root, pytest.mark.namespaces]

Builder = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def image(busybox_archive: Path) -> str:
    return str(busybox_archive)


def eventually(test: Callable[[], bool], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def state_of(builder: Builder, name: str) -> dict[str, object]:
    described = json.loads(builder("container", "inspect", name).stdout)[0]["State"]
    assert isinstance(described, dict)
    return described


def test_streams_and_status_are_the_containers_own(builder: Builder, image: str) -> None:
    done = builder(
        "run", "--rm", "--network", "none", image, "sh", "-c", "echo o; echo e >&2; exit 7"
    )

    assert (done.returncode, done.stdout, done.stderr) == (7, b"o\n", b"e\n")


def test_the_second_run_is_quick_and_does_the_same(builder: Builder, image: str) -> None:
    words = ("run", "--rm", "--network", "none", "-e", "A=b", image, "sh", "-c", "echo $A")

    assert [builder(*words).stdout for _ in range(2)] == [b"b\n", b"b\n"]


def test_what_cannot_be_started_has_its_status(builder: Builder, image: str) -> None:
    none = ("run", "--rm", "--network", "none", image)

    assert builder(*none, "no-such-command").returncode == 127
    assert builder(*none, "/etc/passwd").returncode == 126
    assert (
        builder("run", "--rm", "-u", "nobody-here", "--network", "none", image, "true").returncode
        == 125
    )
    assert builder("ps", "-aq").stdout == b""


def test_input_of_any_size_goes_through(builder: Builder, image: str) -> None:
    content = os.urandom(3 << 20)

    done = builder("run", "--rm", "-i", "--network", "none", image, "cat", stdin=content)

    assert done.stdout == content


def test_nothing_is_left_of_a_container_that_removes_itself(
    builder: Builder, image: str, tmp_path: Path
) -> None:
    done = builder("run", "--rm", "-m", "64m", "-v", "/data", image, "sh", "-c", "echo x > /data/f")
    assert done.returncode == 0

    assert builder("ps", "-aq").stdout == b""
    assert builder("volume", "ls", "-q").stdout == b""
    assert os.listdir(tmp_path / "state/container-names") == []


def test_a_detached_container_is_watched_over(builder: Builder, image: str) -> None:
    made = builder("run", "-d", "--name", "web", "--network", "none", image, "sh", "-c",
                   "echo up; trap 'echo bye; exit 3' TERM; while :; do sleep .1; done")  # fmt: skip
    assert made.returncode == 0
    try:
        assert eventually(lambda: builder("logs", "web").stdout == b"up\n")
        assert state_of(builder, "web")["Status"] == "running"
        assert builder("exec", "web", "sh", "-c", "exit 9").returncode == 9

        assert builder("stop", "-t", "5", "web").returncode == 0

        assert state_of(builder, "web")["ExitCode"] == 3
        assert builder("logs", "web").stdout == b"up\nbye\n"
    finally:
        builder("rm", "-f", "web")


def test_on_failure_starts_again_as_often_as_allowed(builder: Builder, image: str) -> None:
    builder("run", "-d", "--name", "web", "--restart", "on-failure:2", "--network", "none", image,
            "sh", "-c", "echo once; exit 4")  # fmt: skip

    assert eventually(lambda: state_of(builder, "web")["Status"] == "exited")

    assert builder("logs", "web").stdout == b"once\n" * 3
    builder("rm", "web")


def test_a_signal_to_the_program_reaches_the_container(image: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "builder", "run", "--rm", "--network", "none", image, "sh", "-c",
         "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**clean_environment(), "BUILDER_ROOT": str(tmp_path / "state")},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    process.send_signal(signal.SIGTERM)

    assert process.wait(20) == 9
    process.stdout.close()


def test_a_container_dies_with_a_program_that_is_killed(
    builder: Builder, image: str, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "builder", "run", "--name", "web", "--network", "none", image,
         "sh", "-c", "echo ready; exec sleep 60"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**clean_environment(), "BUILDER_ROOT": str(tmp_path / "state")},
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    pid = state_of(builder, "web")["Pid"]

    process.kill()
    process.wait()

    assert eventually(lambda: not os.path.exists(f"/proc/{pid}"))
    assert state_of(builder, "web")["Status"] == "exited"
    assert builder("rm", "web").returncode == 0
    process.stdout.close()


def test_memory_that_runs_out_is_told(builder: Builder, image: str) -> None:
    done = builder("run", "--name", "web", "-m", "16m", "--memory-swap", "16m", "--network", "none",
                   image, "tail", "-c", "100m", "/dev/zero")  # fmt: skip

    assert done.returncode == 137
    assert state_of(builder, "web")["OOMKilled"] is True
    builder("rm", "web")


def test_a_volume_takes_what_the_image_has(builder: Builder, image: str) -> None:
    words = ("run", "--rm", "--network", "none", "-v", "seed:/etc")

    first = builder(*words, image, "cat", "/etc/passwd").stdout
    builder(*words, image, "sh", "-c", "echo mine > /etc/passwd")

    assert first
    assert builder(*words, image, "cat", "/etc/passwd").stdout == b"mine\n"


def test_changes_are_listed_committed_and_exported(builder: Builder, image: str) -> None:
    builder("run", "--name", "web", "--network", "none", image, "sh", "-c",
            "echo n > /new; rm /etc/group; echo c >> /etc/passwd")  # fmt: skip

    changes = set(builder("diff", "web").stdout.decode().split("\n"))
    assert {"A /new", "D /etc/group", "C /etc/passwd", "C /etc"} <= changes
    assert builder("commit", "-c", "CMD cat /new", "web", "made:1").returncode == 0
    assert builder("run", "--rm", "--network", "none", "made:1").stdout == b"n\n"
    assert b"new" in builder("export", "web").stdout
    assert builder("rm", "web").returncode == 0


def test_a_container_that_is_to_be_removed_can_be_restarted(builder: Builder, image: str) -> None:
    builder(
        "run", "-d", "--rm", "--name", "passing", "--network", "none", image, "sh", "-c",
        "echo run >> /runs; sync; sleep 60",
    )  # fmt: skip
    assert eventually(lambda: builder("exec", "passing", "cat", "/runs").stdout == b"run\n")

    builder("restart", "--time", "0", "passing")

    assert eventually(lambda: builder("exec", "passing", "cat", "/runs").stdout == b"run\nrun\n")
    assert builder("cp", "passing:/runs", "-").stdout.count(b"run") > 2
    assert b"A /runs" in builder("diff", "passing").stdout
    builder("stop", "--time", "0", "passing")
    assert eventually(lambda: builder("ps", "-aq").stdout == b"")
