"""Eight builders on one store at once: no step runs twice, nothing is corrupt, no one hangs."""

import os
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from builder.store.fsck import fsck
from builder.store.store import Store
from tests.end_to_end.processes import eventually, started
from tests.end_to_end.site import Site

pytestmark = pytest.mark.namespaces

BUILDERS = 8
NOTE = "--mount=type=cache,id=log,sharing=locked,target=/log"
SHARED = f"""\
FROM busybox AS tools
COPY lib /lib-src
RUN {NOTE} echo tools >> /log/ran && cat /lib-src/a > /built
FROM busybox
COPY --from=tools /built /built
RUN {NOTE} echo result >> /log/ran && cat /built > /result
"""


def own(number: int) -> str:
    return f"RUN {NOTE} echo own-{number} >> /log/ran\n"


def dockerfile(site: Site, text: str, number: int = 0) -> str:
    path = site.directory / f"Dockerfile.{number}"
    path.write_text(text)
    return str(path)


def build_all(site: Site, files: Sequence[str], *options: str) -> list[str]:
    """Build all at once; give what each printed."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                started(site, "build", "-q", f"-f={file}", *options, str(site.context))
            )
            for file in files
        ]
        done = [process.communicate(timeout=60) for process in running]
        assert [process.returncode for process in running] == [0] * len(files), done
    return [out.decode().strip() for out, _err in done]


def ran(site: Site) -> Counter[str]:
    """Count how often each step ran, by what it noted."""
    [log] = Path(site.state, "cache-mounts").glob("*/ran")
    return Counter(log.read_text().split())


def problems(site: Site) -> list[str]:
    with Store.open(str(site.state)) as store:
        found = fsck(store, is_repairing=False)
        return [f"{one.kind} {one.name} {one.what}" for one in found]


def test_the_same_build_eight_times_runs_each_step_once(site: Site) -> None:
    site.write("lib/a", "a\n")
    file = dockerfile(site, SHARED)

    images = build_all(site, [file] * BUILDERS, "--tag=app")

    assert len(set(images)) == 1
    assert ran(site) == {"tools": 1, "result": 1}
    assert problems(site) == []


def test_builds_that_share_steps_share_their_work(site: Site) -> None:
    site.write("lib/a", "a\n")
    files = [dockerfile(site, SHARED + own(number), number) for number in range(BUILDERS)]

    images = build_all(site, files)

    assert len(set(images)) == BUILDERS
    once = {f"own-{number}": 1 for number in range(BUILDERS)}
    assert ran(site) == {"tools": 1, "result": 1, **once}
    assert problems(site) == []


def test_builds_and_prunes_at_once_leave_everything_whole(site: Site) -> None:
    site.write("lib/a", "a\n")
    files = [dockerfile(site, SHARED + own(number), number) for number in range(3)]

    with ExitStack() as stack:
        pruning = [
            stack.enter_context(started(site, "builder", "prune", "--force")) for _ in range(3)
        ]
        images = build_all(site, files)
        assert [process.wait(60) for process in pruning] == [0] * 3

    assert len(set(images)) == len(files)
    assert problems(site) == []


def test_a_killed_builder_holds_nobody_up(site: Site) -> None:
    site.write("lib/a", "a\n")
    slow = SHARED + f"RUN {NOTE} echo slow >> /log/ran && sleep 1 && echo done >> /log/ran\n"
    file = dockerfile(site, slow)
    with ExitStack() as stack:
        words = ("build", "-q", f"-f={file}", "--tag=app", str(site.context))
        first = stack.enter_context(started(site, *words))
        assert eventually(lambda: any(Path(site.state, "cache-mounts").glob("*/ran")))
        assert eventually(lambda: ran(site)["slow"] == 1)
        others = [stack.enter_context(started(site, *words)) for _ in range(BUILDERS - 1)]

        os.kill(first.pid, signal.SIGKILL)

        done = [process.communicate(timeout=60) for process in others]
        assert [process.returncode for process in others] == [0] * len(others), done

    assert len({out for out, _err in done}) == 1
    assert ran(site) == {"tools": 1, "result": 1, "slow": 2, "done": 1}
    assert problems(site) == []


WAITING = f"""\
FROM busybox AS waits
RUN {NOTE.replace("locked", "shared")} echo waits >> /log/ran && \\
    until test -e /log/go; do sleep 0.05; done && echo end > /end
"""


def test_a_step_of_another_build_holds_up_nothing_that_does_not_need_it(site: Site) -> None:
    site.write("lib/a", "a\n")
    go = f"RUN {NOTE.replace('locked', 'shared')} echo go >> /log/ran && touch /log/go /go\n"
    both = f"{WAITING}FROM busybox AS goes\n{go}FROM busybox\nCOPY --from=waits /end /\n"
    waits = dockerfile(site, WAITING, 0)
    goes = dockerfile(site, f"{both}COPY --from=goes /go /\n", 1)

    with ExitStack() as stack:
        first = stack.enter_context(started(site, "build", "-q", f"-f={waits}", str(site.context)))
        assert eventually(lambda: any(Path(site.state, "cache-mounts").glob("*/ran")))
        [image] = build_all(site, [goes], "--tag=both")
        assert first.wait(60) == 0

    assert image
    assert ran(site) == {"waits": 1, "go": 1}
