"""Programs of another machine: which one it is, and what running them would take.

Spec: System V ABI, ELF header; Linux, Documentation/admin-guide/binfmt-misc.rst.
"""

import os
import stat
from collections.abc import Iterator, Sequence

from builder.errors import KernelError
from builder.kernel.paths import open_in_root
from builder.values import NamedTuple

BINFMT = "/proc/sys/fs/binfmt_misc"
_MACHINES = {
    3: "386", 8: "mips", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64",
    243: "riscv64", 258: "loong64",
}  # fmt: skip
_EMULATORS = {"386": "i386", "amd64": "x86_64", "arm64": "aarch64", "loong64": "loongarch64"}
_HEAD_BYTES = 256
_MACHINE_AT = 18
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Foreign(NamedTuple):
    """Why a program cannot run here, and the remedy."""

    what: str
    fix: str


def foreign_program(
    root_fd: int, argv: Sequence[str], env: Sequence[str], host: str
) -> Foreign | None:
    """Tell whether a command is a program for another machine than `host`, such as amd64."""
    for path in _candidates(argv[0], env):
        head = _head(root_fd, path)
        if head is None:
            continue
        if head.startswith(b"#!"):
            words = head[2:].split(b"\n")[0].split()
            path = os.fsdecode(words[0]) if words else path  # noqa: PLW2901 - the interpreter
            head = _head(root_fd, path) or b""
        machine = _machine(head)
        if machine and machine != host and (machine, host) != ("386", "amd64"):
            what = f"{path} is a program for {machine}, which this machine ({host}) cannot run"
            return Foreign(what, _remedy(machine))
        return None
    return None


def _candidates(name: str, env: Sequence[str]) -> Iterator[str]:
    if "/" in name:
        yield name
        return
    paths = [variable[5:] for variable in env if variable.startswith("PATH=")]
    for folder in (paths[-1] if paths else _DEFAULT_PATH).split(":"):
        yield f"{folder}/{name}"


def _head(root_fd: int, path: str) -> bytes | None:
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except KernelError:
        return None
    try:
        return os.read(fd, _HEAD_BYTES) if stat.S_ISREG(os.fstat(fd).st_mode) else None
    finally:
        os.close(fd)


def _machine(head: bytes) -> str:
    if not head.startswith(b"\x7fELF") or len(head) < _MACHINE_AT + 2:
        return ""
    order = "big" if head[5] == 2 else "little"  # noqa: PLR2004 - EI_DATA, ELFDATA2MSB
    number = int.from_bytes(head[_MACHINE_AT : _MACHINE_AT + 2], order)  # type: ignore[arg-type]  # one of the two
    return _MACHINES.get(number, f"machine {number}")


def _remedy(machine: str) -> str:
    emulator = f"qemu-{_EMULATORS.get(machine, machine)}"
    flags = _registered_flags(emulator)
    if flags is not None and "F" not in flags:
        return f"register {emulator} with the flag F: without it, a step cannot see the emulator"
    return (
        f"register an emulator such as {emulator}-static with binfmt_misc (flag F), or build for"
        " this machine's platform"
    )


def _registered_flags(emulator: str) -> str | None:
    """Give the flags of a registered and enabled emulator, None if there is none."""
    try:
        with open(f"{BINFMT}/{emulator}", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    if "enabled" not in lines:
        return None
    return next((line[6:].strip() for line in lines if line.startswith("flags:")), "")
