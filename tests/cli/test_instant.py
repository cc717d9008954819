"""`run --rm` with the same words again: what the recipe does is what the ordinary way does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import clean_environment

pytestmark = [pytest.mark.root, pytest.mark.namespaces]

ASK = """
import sys
from builder.cli import fast
status = fast.answer(sys.argv[1:])
sys.exit(99 if status is None else status)
"""
UNKNOWN = 99
REPOSITORY = Path(__file__).resolve().parents[2]
RUN = ("run", "--rm", "--network", "host")
Program = Callable[..., "subprocess.CompletedProcess[bytes]"]


class Site:
    """A state directory with an image `box`."""

    def __init__(self, base: Path, builder: Program, archive: Path) -> None:
        self.base = base
        self.state = base / "state"
        self.builder = builder
        loaded = builder("load", "-i", str(archive)).stdout.decode().split()[-1]
        builder("tag", loaded, "box")
        builder("run", "--rm", "--network", "host", "box", "true")
        time.sleep(0.05)  # what has just changed is not trusted

    def known(self, *words: str) -> tuple[str, ...]:
        """Run a container often enough for a recipe; the words."""
        for _ in range(2):
            self.builder(*RUN, *words)
        return (*RUN, *words)

    def known_slow(self, *image: str) -> tuple[str, ...]:
        """Make a recipe for `slow`, which says hello, and bye when it is told to end."""
        script = "trap 'echo bye; exit 5' TERM; echo hello; while :; do sleep 0.05; done"
        words = (*RUN, "--name", "slow", *image, "sh", "-c", script)
        for _ in range(2):
            process = subprocess.Popen(
                self.command(*words), stdout=subprocess.PIPE, cwd=self.base, env=self.environ
            )
            assert process.stdout is not None
            assert process.stdout.readline() == b"hello\n"
            process.send_signal(signal.SIGTERM)
            assert process.communicate(timeout=30)[0] == b"bye\n"
        return words

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-X", "utf8", "-m", "builder", *words]

    @property
    def environ(self) -> dict[str, str]:
        return {**clean_environment(), "BUILDER_ROOT": str(self.state)}

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Ask for a repetition, as the launcher does."""
        return subprocess.Popen(
            [sys.executable, "-X", "utf8", "-c", ASK, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.base,
            env=self.environ,
        )

    def asked(self, *words: str) -> tuple[int, bytes, bytes]:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def leftovers(self) -> list[str]:
        folders = ("containers", "container-names", "leases")
        return [name for folder in folders for name in os.listdir(self.state / folder)]

    def eventually(self, is_so: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 20
        while not is_so():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


@pytest.fixture
def site(tmp_path: Path, builder: Program, busybox_archive: Path) -> Site:
    return Site(tmp_path, builder, busybox_archive)


def test_a_repetition_is_answered_from_the_third_time_on(site: Site) -> None:
    words = (*RUN, "box", "sh", "-c", "echo out; echo err >&2; exit 7")

    before = [site.asked(*words)[0], site.builder(*words).returncode]
    before += [site.asked(*words)[0], site.builder(*words).returncode]

    assert before == [UNKNOWN, 7, UNKNOWN, 7]
    assert site.asked(*words) == (7, b"out\n", b"err\n")
    assert site.leftovers() == []


def test_the_launcher_ends_with_its_status(site: Site) -> None:
    words = site.known("box", "sh", "-c", "exit 7")
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    packages = site.base / "prefix/lib" / version / "site-packages"
    packages.mkdir(parents=True)
    (packages / "builder").symlink_to(REPOSITORY / "builder")
    (site.base / "prefix/bin").mkdir()
    (site.base / "prefix/bin/python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    launcher = shutil.copy(REPOSITORY / "tools/launcher", site.base / "prefix/bin/builder")

    done = subprocess.run(
        [launcher, *words], check=False, capture_output=True, cwd=site.base, env=site.environ
    )

    assert (done.returncode, done.stderr) == (7, b"")


def test_the_container_is_the_same(site: Site) -> None:
    script = "cut -d' ' -f5- /proc/self/mountinfo | sed 's/[0-9a-f]\\{64\\}/ID/g'; id; env; pwd"
    options = ("-u", "2:3", "-e", "A=b c", "-w", "/bin", "-h", "named", "--cap-drop", "all")
    words = site.known(*options, "box", "sh", "-c", f"{script}; hostname; cat /etc/hosts")

    expected = site.builder(*words)

    assert site.asked(*words) == (0, expected.stdout, expected.stderr)
    assert b"uid=2" in expected.stdout


def test_a_signal_that_ends_it_is_in_the_status(site: Site) -> None:
    process = site.start(*site.known_slow("box"))
    assert site.eventually(lambda: b"slow" in site.builder("ps").stdout)

    site.builder("kill", "slow")

    assert process.communicate(timeout=30)[0] == b"hello\n"
    assert process.returncode == 137


def test_events_tell_of_it(site: Site) -> None:
    words = site.known("-l", "a=b", "box", "sh", "-c", "exit 4")

    site.asked(*words)

    lines = (site.state / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines[-8:]]
    ordinary, instant = events[:4], events[4:]
    assert [event["action"] for event in instant] == ["create", "start", "die", "destroy"]
    assert len({event["id"] for event in instant}) == 1
    for one, other in zip(ordinary, instant, strict=True):
        assert one["id"] != other["id"]
        assert isinstance(other["time_ns"], int)
        assert {**one["attributes"], "name": ""} == {**other["attributes"], "name": ""}


def test_one_that_goes_on_is_like_any_other(site: Site) -> None:
    words = site.known_slow("box")

    process = site.start(*words)

    assert site.eventually(lambda: b"slow" in site.builder("ps").stdout)
    assert site.eventually(lambda: site.builder("logs", "slow").stdout == b"hello\n")
    inspected = json.loads(site.builder("container", "inspect", "slow").stdout)[0]
    assert inspected["State"]["Running"] is True
    assert site.builder("exec", "slow", "echo", "inside").stdout == b"inside\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == (b"hello\nbye\n", b"")
    assert process.returncode == 5
    assert site.leftovers() == []


def test_it_can_be_stopped_and_waited_for(site: Site) -> None:
    words = site.known_slow("box")
    process = site.start(*words)
    assert site.eventually(lambda: b"slow" in site.builder("ps").stdout)

    waiting = site.command("wait", "slow")
    waited = subprocess.Popen(waiting, stdout=subprocess.PIPE, env=site.environ)
    time.sleep(0.5)
    site.builder("stop", "slow")

    assert waited.communicate(timeout=30)[0] == b"5\n"
    process.communicate(timeout=30)
    assert process.returncode == 5


@pytest.mark.parametrize("pause_s", [0.0, 0.05, 0.4])
def test_of_a_killed_one_nothing_is_left(site: Site, pause_s: float) -> None:
    words = site.known_slow("box")

    process = site.start(*words)
    assert site.eventually(lambda: any(site.state.glob("containers/*/config.json")))
    time.sleep(pause_s)
    process.kill()
    process.communicate()

    assert site.builder("ps", "-a", "-q").stdout == b""
    assert site.leftovers() == []


def test_a_name_that_is_taken_is_the_ordinary_ways_business(site: Site) -> None:
    words = site.known("--name", "mine", "box", "true")
    site.builder("create", "--name", "mine", "--network", "host", "box", "true")
    before = sorted(site.leftovers())

    assert site.asked(*words) == (UNKNOWN, b"", b"")
    assert sorted(site.leftovers()) == before


def test_a_recipe_ends_with_the_state_of_the_images(site: Site) -> None:
    words = site.known("box", "true")
    assert site.asked(*words)[0] == 0

    site.builder("tag", "box", "another")

    assert site.asked(*words)[0] == UNKNOWN


def test_a_root_that_is_not_as_it_was_ends_it_for_good(site: Site) -> None:
    words = site.known("box", "true")
    for diff in site.state.glob("snapshots/*/diff"):
        (diff / "proc").mkdir(exist_ok=True)
        (diff / "etc").mkdir(exist_ok=True)
        for name in ("hosts", "hostname", "resolv.conf"):
            (diff / "etc" / name).touch()

    assert site.asked(*words) == (UNKNOWN, b"", b"")
    assert site.leftovers() == []
    assert [path.stat().st_size for path in site.state.glob("fast/*")].count(0) == 1
    assert site.builder(*words).returncode == 0
    assert site.asked(*words)[0] == UNKNOWN


def test_what_a_recipe_cannot_hold_has_none(site: Site) -> None:
    unusual = [
        ("-e", "HOME"),
        ("-i",),
        ("--sig-proxy=false",),
        ("-m", "64m"),
        ("--tmpfs", "/mnt"),
        ("--health-cmd", "true"),
        ("--init",),
        ("--network", "none"),
    ]

    known = [site.known(*options, "box", "true") for options in unusual]

    assert [site.asked(*words)[0] for words in known] == [UNKNOWN] * len(unusual)


def test_a_damaged_recipe_is_none(site: Site) -> None:
    words = site.known("box", "true")
    recipe = max(site.state.glob("fast/*"), key=lambda path: path.stat().st_size)

    recipe.write_bytes(recipe.read_bytes()[:500])

    assert site.asked(*words) == (UNKNOWN, b"", b"")
