import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.sandbox.spec import Running

pytestmark = pytest.mark.namespaces


def _with_container(
    inside: Callable[..., Any],
    script: str | tuple[str, ...],
    *,
    container: str = "while true; do sleep 1; done",
    uid: int = 0,
    has_ranges: bool = False,
    **changes: Any,
) -> Any:
    """Run a command in a running container."""

    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        spec = engine.sh(container, hostname="box")
        with engine.zygote.launch(spec, null_fd, null_fd, null_fd) as sandbox:
            root = Running(sandbox.started().pid)
            make = engine.sh if isinstance(script, str) else engine.spec
            words = (script,) if isinstance(script, str) else script
            return engine.run(make(*words, root=root, **changes))

    return inside(body, uid=uid, has_ranges=has_ranges)


def test_a_further_process_shares_every_namespace(inside: Callable[..., Any]) -> None:
    script = "hostname; ls -d /proc/[0-9]* | wc -l; for n in pid mnt net ipc uts cgroup; do "
    script += "[ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] && echo $n; done"

    outcome = _with_container(inside, script)

    assert outcome[2].split()[0] == "box"
    assert outcome[2].split()[2:] == ["pid", "mnt", "net", "ipc", "uts", "cgroup"]


def test_it_has_no_more_rights_than_the_container(inside: Callable[..., Any]) -> None:
    script = "grep -E 'Cap|Seccomp:' /proc/self/status; mount -t tmpfs x /tmp; ls /proc/self/fd"

    lines = _with_container(inside, script)[2].split("\n")

    assert lines[:5] == [
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000a80425fb",
        "CapEff:\t00000000a80425fb",
        "CapBnd:\t00000000a80425fb",
        "CapAmb:\t0000000000000000",
    ]
    assert lines[5:] == ["Seccomp:\t2", "0", "1", "2", "3", ""]


@pytest.mark.root
def test_it_may_be_another_user_elsewhere(inside: Callable[..., Any]) -> None:
    outcome = _with_container(inside, "id -u; pwd", uid=0, cwd="/etc")

    assert outcome[2] == "0\n/etc\n"


def test_its_status_comes_back(inside: Callable[..., Any]) -> None:
    assert _with_container(inside, "exit 5")[0] == 5


def test_a_missing_command_is_127(inside: Callable[..., Any]) -> None:
    outcome = _with_container(inside, ("nothing",))

    assert outcome[5] == 127


def test_a_missing_directory_is_126(inside: Callable[..., Any]) -> None:
    assert _with_container(inside, "true", cwd="/nowhere")[5] == 126


def test_a_container_that_has_ended_is_named(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        return engine.run(engine.sh("true", root=Running(2**22 - 1)))

    with pytest.raises(AssertionError, match="No such process"):
        inside(body)


def test_the_container_cannot_see_into_the_entering_process(inside: Callable[..., Any]) -> None:
    spy = (
        "while true; do for p in /proc/[0-9]*; do n=${p#/proc/}; [ $n -gt 2 ] || continue; "
        "ls -l $p/fd $p/cwd $p/root $p/exe 2>/dev/null; done; done > /tmp/spied"
    )

    def body(engine: Any) -> Any:
        null_fd = os.open("/dev/null", os.O_RDWR)
        with engine.zygote.launch(engine.sh(spy), null_fd, null_fd, null_fd) as sandbox:
            root = Running(sandbox.started().pid)
            for _ in range(20):
                engine.run(engine.sh("true", root=root))
        time.sleep(0.05)
        return Path(f"{engine.tree.upper}/tmp/spied").read_bytes()

    spied = inside(body)

    assert b"python" not in spied
    assert b"pytest" not in spied
    assert b"socket" not in spied or b"sandbox-spec" not in spied


@pytest.mark.root
@pytest.mark.parametrize("has_ranges", [True, False])
def test_it_works_without_root(inside: Callable[..., Any], *, has_ranges: bool) -> None:
    outcome = _with_container(inside, "hostname; id -u", uid=12345, has_ranges=has_ranges)

    assert (outcome[2], outcome[6]) == ("box\n0\n", "")
