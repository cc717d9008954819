import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.errors import KernelError
from builder.kernel import capabilities, syscalls
from builder.kernel.namespaces import enter
from builder.sandbox.spec import Bind, FileMount, Tmpfs

pytestmark = pytest.mark.root
UID = 12345


def _run(inside: Callable[..., Any], script: str, **changes: Any) -> Any:
    def body(engine: Any) -> Any:
        return tuple(engine.privileges), engine.run(engine.sh(script, **changes))

    return inside(body, uid=UID)


def test_without_granted_ids_the_own_one_is_root(inside: Callable[..., Any]) -> None:
    privileges, outcome = _run(inside, "id -u; cat /proc/self/uid_map /proc/self/setgroups")

    assert privileges[:2] == (False, True)
    assert privileges[4] is True
    assert outcome[2].split() == ["0", "0", str(UID), "1", "deny"]


def test_with_granted_ids_there_are_users(inside: Callable[..., Any]) -> None:
    def body(engine: Any) -> Any:
        script = "chown 1000:1000 /etc; stat -c %u:%g /etc; id -u; echo > /dev/null"
        first = engine.run(engine.sh(script))
        script = "id -u; id -G; touch /etc/mine; cat /proc/self/status | grep CapEff"
        second = engine.run(engine.sh(script, uid=1000, gid=1000, groups=(7,)))
        return tuple(engine.privileges), first[2], second[2]

    privileges, first, second = inside(body, uid=UID, has_ranges=True)

    assert privileges[:3] == (False, False, ((0, UID, 1), (1, 200000, 65536)))
    assert first == "1000:1000\n0\n"
    assert second.split() == ["1000", "1000", "7", "CapEff:", "0" * 16]


def test_an_id_that_is_not_mapped_is_refused(inside: Callable[..., Any]) -> None:
    _, outcome = _run(inside, "true", uid=1000, gid=1000)

    assert (outcome[5], "1000:1000" in outcome[6]) == (125, True)


def test_a_single_id_can_pretend_ownership(inside: Callable[..., Any]) -> None:
    script = (
        "chown 33:33 /etc && mknod /null c 1 3 && chmod 4755 /bin/true; echo $?;"
        "mkdir /d && chown -R 5:5 /d; echo $?; stat -c %u /etc"
    )

    _, outcome = _run(inside, script, fake_ownership=True)

    assert outcome[2] == "0\n0\n0\n"


def test_another_user_in_single_id_mode_has_no_capabilities(inside: Callable[..., Any]) -> None:
    _, outcome = _run(inside, "grep CapEff /proc/self/status", fake_ownership=True, uid=33, gid=33)

    assert outcome[2] == f"CapEff:\t{0:016x}\n"


def test_all_kinds_of_mounts_work_without_root(inside: Callable[..., Any], tree: Any) -> None:
    (tree.base / "source").mkdir()
    mounts = (
        Bind("/b", str(tree.base / "source"), is_read_only=True),
        Tmpfs("/t", size_bytes=1 << 20),
        FileMount("/run/secrets/s", b"secret", uid=7, gid=7),
    )

    def body(engine: Any) -> Any:
        return engine.run(
            engine.sh(
                "touch /b/x; touch /t/x; cat /run/secrets/s", mounts=mounts, fake_ownership=True
            )
        )

    outcome = inside(body, uid=UID)

    assert outcome[2] == "secret"
    assert "Read-only" in outcome[3]


def test_the_network_of_the_host_can_be_kept(inside: Callable[..., Any]) -> None:
    _, outcome = _run(inside, "ls /sys/class/net | wc -l; touch /sys/x", network="host")

    assert int(outcome[2]) >= 1


def test_deletions_are_marked_for_user_namespaces(inside: Callable[..., Any], tree: Any) -> None:
    _, outcome = _run(inside, "rm /bin/yes; rm -r /etc; mkdir /etc")

    assert outcome[0] == 0
    assert os.getxattr(tree.upper / "etc", "user.overlay.opaque") == b"y"


def test_root_without_sys_admin_gets_a_user_namespace(inside: Callable[..., Any]) -> None:
    def body(_engine: Any) -> Any:
        kept = capabilities.ALL & ~(1 << capabilities.NUMBERS["SYS_ADMIN"])
        kept &= syscalls.capget()[1]
        syscalls.capset(effective=kept, permitted=kept, inheritable=0)
        privileges = enter()
        return tuple(privileges)

    privileges = inside(body)

    assert privileges[:2] == (False, False)
    assert privileges[2] == ((0, 0, 2**32 - 1),)


def test_a_machine_without_user_namespaces_is_explained(inside: Callable[..., Any]) -> None:
    def body(_engine: Any) -> Any:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        Path("/proc/self/uid_map").write_text("0 0 1")
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        syscalls.capset(effective=0, permitted=0, inheritable=0)
        try:
            enter()
        except KernelError as error:
            return error.syscall, error.errno, error.fix
        return None

    name, _, fix = inside(body)

    assert name == "unshare"
    assert "max_user_namespaces" in fix


@pytest.mark.parametrize("is_rootless", [True, False])
def test_a_filter_that_refuses_namespaces_is_explained(
    inside: Callable[..., Any], *, is_rootless: bool
) -> None:
    def body(_engine: Any) -> Any:
        from builder.kernel import seccomp

        program = seccomp.default_profile(capabilities.DEFAULT)
        syscalls.seccomp(program)  # as in a container without privileges
        try:
            enter()
        except KernelError as error:
            return error.syscall, error.errno, error.fix
        return None

    def as_user(engine: Any) -> Any:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        return body(engine)

    name, number, fix = inside(as_user if is_rootless else body, uid=UID if is_rootless else 0)

    assert (name, number) == ("unshare", 1)
    assert "privileged" in fix
