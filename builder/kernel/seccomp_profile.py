"""Docker's and OCI's filter profiles in JSON, read as rules.

Spec: Docker "Seccomp security profiles"; OCI runtime-spec, config-linux.md, "Seccomp".
"""

import json
import os
from typing import Any

from builder.errors import UsageError
from builder.kernel import bpf
from builder.kernel.bpf import Condition, Operator, Rule
from builder.kernel.capabilities import NUMBERS
from builder.values import NamedTuple

MAX_PROFILE_BYTES = 4 << 20
_ACTIONS = {
    "SCMP_ACT_ALLOW": bpf.ALLOW,
    "SCMP_ACT_ERRNO": bpf.ERRNO,
    "SCMP_ACT_KILL": bpf.KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": bpf.KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": bpf.KILL_PROCESS,
    "SCMP_ACT_TRAP": bpf.TRAP,
    "SCMP_ACT_TRACE": bpf.TRACE,
    "SCMP_ACT_LOG": bpf.LOG,
}
_OPERATORS: dict[str, Operator] = {
    "SCMP_CMP_EQ": "==",
    "SCMP_CMP_NE": "!=",
    "SCMP_CMP_LT": "<",
    "SCMP_CMP_LE": "<=",
    "SCMP_CMP_GT": ">",
    "SCMP_CMP_GE": ">=",
}
_MACHINES = {
    "SCMP_ARCH_X86_64": "x86_64",
    "SCMP_ARCH_X86": "i386",
    "SCMP_ARCH_AARCH64": "aarch64",
    "SCMP_ARCH_ARM": "arm",
}
_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_EPERM = 1
_MAX_ARGUMENT = 5
_MAX_ERRNO = 4095


class Profile(NamedTuple):
    """What `bpf.assemble` takes."""

    rules: tuple[Rule, ...]
    default: int
    machines: tuple[str, ...]


def read(content: bytes, capabilities: int, natives: tuple[str, ...]) -> Profile:
    """Read a profile for a container with these capabilities; UsageError if it makes no sense.

    `natives` are the architectures of this machine, the first being its own. Rules with conditions
    come before those without, whatever their order in the file, as with libseccomp.
    """
    if len(content) > MAX_PROFILE_BYTES:
        raise _mistake(f"it is larger than {MAX_PROFILE_BYTES} bytes")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _mistake(f"it is no JSON: {error}") from None
    try:
        errno = document.get("defaultErrnoRet", _EPERM)
        default = _action(document["defaultAction"], errno)
        rules = [
            rule
            for entry in document.get("syscalls") or ()
            if _applies(entry, capabilities, natives[0])
            for rule in _rules(entry)
        ]
        machines = _machines(document, natives)
    except (KeyError, TypeError, AttributeError) as error:
        raise _mistake(f"a field is missing or of another type: {error}") from None
    rules.sort(key=lambda rule: not rule.conditions)
    return Profile(tuple(rules), default, machines)


def _rules(entry: dict[str, Any]) -> list[Rule]:
    names = entry.get("names") or [entry["name"]]
    action = _action(entry["action"], entry.get("errnoRet", _EPERM))
    conditions = tuple(_condition(argument) for argument in entry.get("args") or ())
    return [Rule(frozenset(names), action, conditions)]


def _action(name: str, errno: int | None) -> int:
    if name not in _ACTIONS:
        raise _mistake(f"{name} is no action that can be used here")
    action = _ACTIONS[name]
    if action not in {bpf.ERRNO, bpf.TRACE}:
        return action
    value = _EPERM if errno is None else errno
    if not 0 <= value <= _MAX_ERRNO:
        raise _mistake(f"{value} is no errno")
    return action | value


def _condition(argument: dict[str, Any]) -> Condition:
    index, value, operator = argument["index"], argument["value"], argument["op"]
    if not 0 <= index <= _MAX_ARGUMENT or not 0 <= value < 1 << 64:
        raise _mistake(f"argument {index} with value {value} cannot be compared")
    if operator == "SCMP_CMP_MASKED_EQ":
        # The file's value is the mask, its second value what remains under it.
        return Condition(index, "&==", argument.get("valueTwo") or 0, value)
    if operator not in _OPERATORS:
        raise _mistake(f"{operator} is no comparison")
    return Condition(index, _OPERATORS[operator], value)


def _applies(entry: dict[str, Any], capabilities: int, machine: str) -> bool:
    """Whether the conditions on capabilities, architecture and kernel of an entry hold."""
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    held = {name for name, number in NUMBERS.items() if capabilities >> number & 1}
    wanted = {name.removeprefix("CAP_") for name in includes.get("caps") or ()}
    unwanted = {name.removeprefix("CAP_") for name in excludes.get("caps") or ()}
    architectures = includes.get("arches") or ()
    own = _GO_NAMES[machine]
    if not wanted <= held or unwanted & held:
        return False
    if (architectures and own not in architectures) or own in (excludes.get("arches") or ()):
        return False
    minimum = includes.get("minKernel")
    return not minimum or _version(os.uname().release) >= _version(minimum)


def _version(text: str) -> tuple[int, ...]:
    words = text.partition("-")[0].split(".")[:2]
    return tuple(int(word) if word.isascii() and word.isdigit() else 0 for word in words)


def _machines(document: dict[str, Any], natives: tuple[str, ...]) -> tuple[str, ...]:
    """Choose this machine's architectures among those that the profile lists."""
    listed = set(document.get("architectures") or ())
    for entry in document.get("archMap") or ():
        if _MACHINES.get(entry["architecture"]) == natives[0]:
            listed |= {entry["architecture"], *(entry.get("subArchitectures") or ())}
    named = {_MACHINES[name] for name in listed if name in _MACHINES}
    return (natives[0], *(machine for machine in natives[1:] if machine in named))


def _mistake(what: str) -> UsageError:
    return UsageError(
        f"the seccomp profile cannot be used: {what}",
        fix="see Docker's default profile for an example",
    )
