"""Eight builders on one store, each killed once at a random moment and started again."""

import os
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random

from builder.store.fsck import fsck
from builder.store.store import Store
from tests.end_to_end.outcomes import tree
from tests.end_to_end.processes import eventually, started
from tests.end_to_end.site import Site

BUILDERS = 8
TIMEOUT_S = 120
LONGEST_S = 0.4
"""How long a builder may live before it is killed, from when the one before it was."""
_NOTE = "--mount=type=cache,id=log,target=/log"
"""Shared, not locked: each note is one write, and steps must be able to run at once."""
_LEFT = ("leases", "ingest", "tmp")


def step(name: str, command: str) -> str:
    """Write a RUN that notes when it begins and when it is done."""
    return f"RUN {_NOTE} echo +{name} >> /log/ran; {command}; echo -{name} >> /log/ran\n"


def dockerfiles(random: Random) -> list[str]:
    """Write eight files that have some steps in common, and some of their own."""
    tools = "FROM busybox AS tools\nCOPY lib /lib-src\n"
    tools += step("tools", "sleep 0.1; cp -a /lib-src /built; ln /built/a /built/hard")
    tools += step("more", "mkdir /more; for i in 1 2 3 4 5; do echo $i > /more/$i; done")
    other = "FROM busybox AS other\nCOPY --chown=7:8 lib/a /a\n"
    other += step("other", "sleep 0.1; dd if=/dev/zero of=/big bs=64k count=40 2> /dev/null")
    files = []
    for number in range(BUILDERS):
        last = "FROM busybox\nCOPY --from=tools /built /built\n"
        if random.random() < 0.7:
            last += "COPY --from=other --link /big /big\n"
        last += step(
            "last" if random.random() < 0.6 else f"last-{number}", "rm /built/hard; sleep 0.1"
        )
        last += step(f"own-{number}", f"echo {number} > /own")
        files.append(tools + other + last)
    return files


def kill_each_once(random: Random, site: Site, files: list[Path]) -> str | None:
    """Build all at once, kill each builder once; tell what went wrong until all were done."""
    with ExitStack() as stack:

        def build(number: int) -> subprocess.Popen[bytes]:
            words = ("build", "-q", f"-f={files[number]}", f"--tag=app-{number}", str(site.context))
            return stack.enter_context(started(site, *words))

        running = [build(number) for number in range(BUILDERS)]
        for number in random.sample(range(BUILDERS), BUILDERS):
            time.sleep(random.random() * LONGEST_S)
            os.kill(running[number].pid, signal.SIGKILL)
            running[number] = build(number)
        for process in running:
            _out, error = process.communicate(timeout=TIMEOUT_S)
            if process.returncode != 0:
                return f"a builder ended with {process.returncode}: {error.decode()}"
    return None


def run_counts(site: Site) -> Counter[str]:
    """Count how often each step began (+) and was done (-)."""
    logs = list(Path(site.state, "cache-mounts").glob("*/ran"))
    return Counter(" ".join(log.read_text() for log in logs).split())


def run_in_vain(site: Site) -> str | None:
    """Tell of steps that were done more often than builders that died can explain."""
    counts = run_counts(site)
    again = {name: n - 1 for name, n in counts.items() if name.startswith("-") and n > 1}
    return f"done again: {again}" if sum(again.values()) > BUILDERS else None


def not_cached(site: Site, files: list[Path]) -> str | None:
    """Build everything again: nothing may run."""
    before = run_counts(site)
    for file in files:
        site.run("build", "-q", f"-f={file}", str(site.context))
    after = run_counts(site)
    return None if before == after else f"not cached: {after - before}"


def left_behind(site: Site) -> str | None:
    """Tell what dead builders left that the store's next user did not clear away."""
    if not eventually(lambda: not _processes(site)):
        return f"processes: {_processes(site)}"
    with Store.open(str(site.state)) as store:
        found = [f"{one.kind} {one.name} {one.what}" for one in fsck(store, is_repairing=False)]
        if found:
            return f"fsck: {found}"
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines()
              if str(site.state) in line]  # fmt: skip
    if mounts:
        return f"mounts: {mounts}"
    left = [str(path) for name in _LEFT for path in Path(site.state, name).glob("*")]
    return f"files: {left}" if left else None


def _processes(site: Site) -> list[str]:
    """List processes that work on the site's store, by their environment."""
    mark = f"BUILDER_ROOT={site.state}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes():
                found.append(path.with_name("cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def differing(site: Site, clean: Site, files: list[Path]) -> str | None:
    """Tell of images that are not what a build from nothing gives."""
    for number, file in enumerate(files):
        root = site.directory / "root.tar"
        site.run("build", "-q", f"-f={file}", f"--output=type=tar,dest={root}", str(site.context))
        found = tree(root)
        clean.run(
            "build", "-q", "--no-cache", f"-f={file}", f"--output=type=tar,dest={root}",
            str(site.context),
        )  # fmt: skip
        if found != tree(root):
            return f"image {number} differs"
    return None


def torture(random: Random, site: Site, clean: Site) -> str | None:
    """Do one round in stores of one's own; tell what is wrong."""
    site.write("lib/a", f"a {random.random()}\n")
    site.write("lib/b/c", "c\n" * 10_000, 0o755)
    files = []
    for number, text in enumerate(dockerfiles(random)):
        files.append(site.directory / f"Dockerfile.{number}")
        files[-1].write_text(text)
    return (
        kill_each_once(random, site, files)
        or run_in_vain(site)
        or not_cached(site, files)
        or left_behind(site)
        or differing(site, clean, files)
    )
