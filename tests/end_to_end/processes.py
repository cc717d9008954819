"""Running the program beside the test, and looking for what it might leave."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import clean_environment
from tests.end_to_end.site import Site


@contextmanager
def started(site: Site, *words: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Start the program in a process group of its own; kill it at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-X", "utf8", "-m", "builder", *words],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=site.directory, start_new_session=True,
        env={**clean_environment(), "BUILDER_ROOT": str(site.state)},
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def eventually(claim: Callable[[], bool], *, timeout_s: float = 10) -> bool:
    """Wait until a claim holds; tell whether it did in time."""
    deadline = time.monotonic() + timeout_s
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def processes_with(word: str) -> list[int]:
    """Give the processes that have a word among their arguments."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if word.encode() in words and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


def groups_of(pid: int) -> set[Path]:
    """Give the control groups of a process that were made for it, as directories."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    roots = [Path(fields[4]) for fields in mounts if " - cgroup" in " ".join(fields)]
    names = {
        line.split(":", 2)[2].lstrip("/")
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    }
    own = {
        line.split(":", 2)[2].lstrip("/")
        for line in Path("/proc/self/cgroup").read_text().splitlines()
    }
    return {root / name for root in roots for name in names - own if (root / name).is_dir()}
