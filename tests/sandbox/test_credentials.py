import os
from collections.abc import Callable
from typing import Any

import pytest

from builder.kernel import capabilities
from builder.sandbox.spec import Rlimit

pytestmark = pytest.mark.namespaces
_STATUS = "grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid|Gid)' /proc/self/status"


def _status(text: str) -> dict[str, list[str]]:
    return {line.split(":")[0]: line.split(":")[1].split() for line in text.splitlines()}


def test_root_has_the_fourteen_capabilities(run: Callable[..., Any]) -> None:
    found = _status(run(_STATUS).out)

    default = [f"{capabilities.DEFAULT:016x}"]
    none = ["0" * 16]
    assert (found["CapPrm"], found["CapEff"], found["CapBnd"]) == (default, default, default)
    assert (found["CapInh"], found["CapAmb"]) == (none, none)
    assert (found["NoNewPrivs"], found["Seccomp"]) == (["0"], ["2"])


@pytest.mark.root
def test_another_user_has_none_but_keeps_the_bounding_set(run: Callable[..., Any]) -> None:
    found = _status(run(_STATUS, uid=1000, gid=1000, groups=(5555, 7)).out)

    none = ["0" * 16]
    assert (found["CapPrm"], found["CapEff"]) == (none, none)
    assert (found["CapInh"], found["CapAmb"]) == (none, none)
    assert found["CapBnd"] == [f"{capabilities.DEFAULT:016x}"]
    assert found["Uid"] == ["1000"] * 4
    assert found["Gid"] == ["1000"] * 4
    assert sorted(found["Groups"]) == ["5555", "7"]


@pytest.mark.root
def test_groups_deny_what_they_deny(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        path = engine.tree.lower / "secret"
        path.write_text("for others")
        os.chown(path, 0, 5555)
        path.chmod(0o604)
        return engine.run(engine.sh("cat /secret", uid=1000, gid=1000, groups=(5555,)))

    outcome = inside(body)

    assert (outcome[2], "denied" in outcome[3]) == ("", True)


def test_added_and_dropped_capabilities(run: Callable[..., Any]) -> None:
    mask = capabilities.parse(["SYS_ADMIN"], ["ALL"])

    found = _status(run(_STATUS, capabilities=mask).out)

    assert found["CapEff"] == [f"{mask:016x}"]


def test_sys_admin_is_not_kept_from_installing_the_filter(run: Callable[..., Any]) -> None:
    found = _status(run(_STATUS, capabilities=0).out)

    assert found["CapEff"] == ["0" * 16]
    assert found["CapBnd"] == ["0" * 16]


def test_no_new_privileges(run: Callable[..., Any]) -> None:
    assert _status(run(_STATUS, no_new_privileges=True).out)["NoNewPrivs"] == ["1"]


@pytest.mark.root
def test_a_setuid_program_gains_only_the_bounding_set(run: Callable[..., Any], tree: Any) -> None:
    (tree.lower / "bin/busybox").chmod(0o4755)

    plain = run("grep CapEff /proc/self/status; id -u", uid=1000, gid=1000)
    denied = run("id -u", uid=1000, gid=1000, no_new_privileges=True)

    assert denied.out == "1000\n"
    assert plain.status == 0


def test_limits_and_umask_are_set(run: Callable[..., Any]) -> None:
    limits = (Rlimit(7, 100, 200),)

    outcome = run("ulimit -Sn; ulimit -Hn; umask; ulimit -c", rlimits=limits, umask=0o027)

    assert outcome.out.split()[:3] == ["100", "200", "0027"]


def test_a_limit_that_cannot_be_is_refused(run: Callable[..., Any]) -> None:
    outcome = run("true", rlimits=(Rlimit(7, 300, 200),))

    assert outcome.error_status == 125
    assert "300:200" in outcome.error


def test_the_umask_is_022(run: Callable[..., Any]) -> None:
    assert run("umask").out == "0022\n"


@pytest.mark.root
def test_oom_score_is_set(run: Callable[..., Any]) -> None:
    assert run("cat /proc/self/oom_score_adj", oom_score_adj=500).out == "500\n"


@pytest.mark.root
def test_a_user_can_open_its_own_output_again(run: Callable[..., Any]) -> None:
    outcome = run("echo again > /dev/stdout | cat", uid=1000, gid=1000)

    assert outcome.status == 0
