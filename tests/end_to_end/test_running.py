"""Containers: how they start, what they see, how they end."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import clean_environment
from tests.end_to_end.processes import eventually, processes_with, started
from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["/etc/passwd"], 126),
        (["/nothing"], 127),
        (["no-such-command"], 127),
    ],
)
def test_the_exit_status_tells_how_it_ended(site: Site, words: list[str], status: int) -> None:
    site.container("busybox", *words, status=status)


@pytest.mark.parametrize(("name", "status"), [("TERM", 143), ("KILL", 137), ("SEGV", 139)])
def test_a_deadly_signal_is_the_status(site: Site, name: str, status: int) -> None:
    site.container("--init", "busybox", "sh", "-c", f"kill -{name} $$", status=status)


def test_a_run_that_cannot_begin_ends_with_125(site: Site) -> None:
    done = site.run("run", "--rm", "--network=none", "absent-image:latest", status=125)

    assert b"absent-image" in done.stderr
    site.run("run", "--no-such-flag", "busybox", status=125)


def test_input_output_and_errors_are_passed_on(site: Site) -> None:
    done = site.container("-i", "busybox", "sh", "-c", "tr a-z A-Z; echo oh >&2", stdin=b"hello")

    assert done.stdout == b"HELLO"
    assert done.stderr.endswith(b"oh\n")


def test_flags_change_what_it_sees(site: Site) -> None:
    script = 'echo "$COLOUR $(pwd) $(hostname)"'

    done = site.container(
        "--env=COLOUR=red", "--workdir=/tmp", "--hostname=here",
        "--entrypoint=sh", "busybox", "-c", script,
    )  # fmt: skip

    assert done.stdout == b"red /tmp here\n"


@pytest.mark.root
def test_a_user_is_by_number(site: Site) -> None:
    done = site.container("--user=12:34", "busybox", "sh", "-c", "id -u; id -g")

    assert done.stdout == b"12\n34\n"


def test_it_is_alone(site: Site) -> None:
    """No process, no interface and no file of the host."""
    marker = site.directory / "marker"
    marker.write_text("")

    done = site.container("busybox", "sh", "-c", f"ls /proc | grep -c '^[0-9]'; ls /sys/class/net; "
                          f"ls {marker} 2>/dev/null; grep ^CapEff /proc/self/status")  # fmt: skip

    processes, *interfaces, capabilities = done.stdout.decode().split("\n")[:-1]
    assert int(processes) <= 4
    assert interfaces == ["lo"]
    assert capabilities == "CapEff:\t00000000a80425fb"


def test_the_root_can_be_read_only(site: Site) -> None:
    script = "touch /x 2>/dev/null && echo wrote; touch /tmp/y && echo temporary"

    done = site.container("--read-only", "--tmpfs=/tmp", "busybox", "sh", "-c", script)

    assert done.stdout == b"temporary\n"


def test_a_directory_of_the_host_and_a_volume(site: Site) -> None:
    shared = site.directory / "shared"
    shared.mkdir()
    (shared / "in").write_text("from outside")
    volumes = [f"--volume={shared}:/shared:ro", "--volume=kept:/etc"]

    site.container(
        *volumes, "busybox", "sh", "-c", "cat /shared/in > /etc/added; ! touch /shared/x"
    )
    done = site.container(
        "--volume=kept:/v:ro", "busybox", "sh", "-c", "cat /v/added; ls /v/passwd"
    )

    assert done.stdout == b"from outside/v/passwd\n"  # what the image had there was copied first


def test_an_archive_runs_without_being_loaded(site: Site) -> None:
    path = site.directory / "app.tar"
    site.build("FROM busybox\nCMD echo archived\n", f"--output=type=oci,dest={path}")
    names = ("images", "--filter=dangling=false")
    before = site.text(*names, "--quiet")

    done = site.container(str(path))

    assert done.stdout == b"archived\n"
    assert site.text(*names, "--quiet") == before


def test_nothing_stays_of_a_removed_container(site: Site) -> None:
    site.container("busybox", "true")

    assert site.text("ps", "--all", "--quiet") == ""
    assert list((site.state / "containers").iterdir()) == []
    assert str(site.state) not in Path("/proc/self/mountinfo").read_text()


def test_a_kept_container_has_its_files_and_log(site: Site) -> None:
    site.run("run", "--network=none", "--name=kept", "busybox", "echo", "once")

    assert site.text("logs", "kept") == "once"
    assert "Exited (0)" in site.text("ps", "--all")
    site.run("rm", "kept")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_reaches_the_container(site: Site, number: int, status: int) -> None:
    script = f"trap 'exit {status}' TERM INT; echo ready; while :; do sleep 0.1; done"
    with started(site, "run", "--rm", "--network=none", "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

        process.send_signal(number)

        assert process.wait(20) == status


def test_a_killed_runner_takes_its_container_along(site: Site) -> None:
    minutes = f"86400.{os.getpid()}"
    script = f"echo ready; exec sleep {minutes}"
    with started(site, "run", "--rm", "--network=none", "busybox", "sh", "-c", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

        process.kill()

        process.wait(20)
    assert eventually(lambda: not processes_with(minutes))


@pytest.mark.root
def test_a_published_port_answers(site: Site) -> None:
    port = free_port()
    site.build(
        "FROM busybox\nRUN mkdir /www && echo hello > /www/index.html\n"
        'CMD ["httpd", "-f", "-p", "80", "-h", "/www"]\n', "--tag=web",
    )  # fmt: skip

    with started(site, "run", "--rm", "--init", f"--publish=127.0.0.1:{port}:80", "web") as process:
        assert eventually(lambda: answer(port) == b"hello\n")
        process.terminate()
        process.wait(20)

    assert answer(port) is None


@pytest.mark.root
def test_names_resolve_on_the_default_network(site: Site) -> None:
    done = site.run("run", "--rm", "--hostname=me", "busybox", "sh", "-c",
                    "ping -c 1 -W 2 me >/dev/null && cat /etc/resolv.conf")  # fmt: skip

    assert b"nameserver" in done.stdout


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def answer(port: int) -> bytes | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as response:
            content: bytes = response.read()
    except OSError:
        return None
    return content


@pytest.mark.skipif(not os.path.exists("/usr/bin/script"), reason="needs script(1)")
def test_a_terminal_is_a_terminal(site: Site) -> None:
    program = f"{sys.executable} -X utf8 -m builder run --rm --network=none -t busybox tty"

    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", program, "/dev/null"],
        check=False, capture_output=True, timeout=30, stdin=subprocess.DEVNULL,
        env={**clean_environment(), "BUILDER_ROOT": str(site.state), "TERM": "xterm"},
    )  # fmt: skip

    assert b"/dev/pts/0" in done.stdout
    assert done.returncode == 0


def test_starting_is_quick(site: Site) -> None:
    site.container("busybox", "true")

    begin = time.monotonic()
    site.container("busybox", "true")

    assert time.monotonic() - begin < 5  # the hard figure is the benchmark's
