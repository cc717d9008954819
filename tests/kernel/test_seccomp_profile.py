import json
from pathlib import Path
from typing import Any

import pytest

from builder.errors import UsageError
from builder.kernel import capabilities, seccomp
from builder.kernel.bpf import ALLOW, DENY, ERRNO, Condition, Rule
from builder.kernel.seccomp_profile import read

NATIVES = ("x86_64", "i386")
CONTAINERS_PROFILE = Path("/usr/share/containers/seccomp.json")


def _read(**document: Any) -> Any:
    document.setdefault("defaultAction", "SCMP_ACT_ERRNO")
    return read(json.dumps(document).encode(), capabilities.DEFAULT, NATIVES)


def _with_argument(argument: dict[str, Any]) -> bytes:
    entry = {"names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [argument]}
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [entry]}).encode()


def test_names_actions_and_arguments_are_read() -> None:
    entries = [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {
            "name": "clone",
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 38,
            "args": [
                {"index": 0, "value": 2114060288, "op": "SCMP_CMP_MASKED_EQ"},
                {"index": 1, "value": 5, "valueTwo": 0, "op": "SCMP_CMP_GE"},
            ],
        },
    ]

    profile = _read(syscalls=entries)

    masked, compared = Condition(0, "&==", 0, 2114060288), Condition(1, ">=", 5)
    assert profile.rules == (
        Rule(frozenset({"clone"}), ERRNO | 38, (masked, compared)),
        Rule(frozenset({"read", "write"}), ALLOW),
    )
    assert (profile.default, profile.machines) == (DENY, ("x86_64",))


@pytest.mark.parametrize(
    ("gate", "is_there"),
    [
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"excludes": {"caps": ["CAP_CHOWN"]}}, False),
        ({"includes": {"arches": ["amd64", "x32"]}}, True),
        ({"includes": {"arches": ["s390x"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "99.0"}}, False),
        ({"includes": None, "excludes": {}}, True),
    ],
)
def test_entries_apply_under_their_conditions(gate: dict[str, Any], *, is_there: bool) -> None:
    profile = _read(syscalls=[{"names": ["read"], "action": "SCMP_ACT_ALLOW", **gate}])

    assert bool(profile.rules) == is_there


def test_further_architectures_must_be_listed() -> None:
    listed = [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}]

    assert _read(archMap=listed).machines == ("x86_64", "i386")
    assert _read(architectures=["SCMP_ARCH_X86"]).machines == ("x86_64", "i386")
    assert _read(archMap=[]).machines == ("x86_64",)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"defaultAction": "SCMP_ACT_NOTIFY"}',
        b'{"defaultAction": 7}',
        b'{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}',
        b'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}',
        b'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [3]}',
        _with_argument({"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}),
        _with_argument({"index": 0, "value": -1, "op": "SCMP_CMP_EQ"}),
        _with_argument({"index": 0, "value": 1, "op": "SCMP_CMP_XX"}),
    ],
)
def test_nonsense_is_refused(content: bytes) -> None:
    with pytest.raises(UsageError):
        read(content, capabilities.DEFAULT, NATIVES)


@pytest.mark.skipif(not CONTAINERS_PROFILE.exists(), reason="no profile of another engine here")
def test_a_real_profile_agrees_with_the_default() -> None:
    program = seccomp.compile_profile(CONTAINERS_PROFILE.read_bytes(), capabilities.DEFAULT)

    assert 50 < len(program) // 8 < 4096
    profile = read(CONTAINERS_PROFILE.read_bytes(), capabilities.DEFAULT, NATIVES)
    allowed = {name for rule in profile.rules if rule.action == ALLOW for name in rule.names}
    own = seccomp._default_rules(capabilities.DEFAULT)
    ours = {name for rule in own if rule.action == ALLOW for name in rule.names}
    assert {"read", "openat", "execve", "clone", "socket"} <= allowed & ours
    assert len(allowed & ours) > 300
