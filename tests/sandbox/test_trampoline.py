import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builder.errors import KernelError
from builder.sandbox import trampoline

TOOL = Path(__file__).resolve().parents[2] / "tools" / "trampoline"


@pytest.mark.skipif(
    not shutil.which("x86_64-linux-gnu-gcc") or not TOOL.exists(), reason="needs gcc and the tools"
)
def test_the_code_is_what_the_source_gives() -> None:
    subprocess.run([sys.executable, TOOL, "--check"], check=True, timeout=60)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_code_is_a_static_executable(machine: str) -> None:
    code = trampoline.code(machine)

    assert code[:6] == b"\x7fELF\x02\x01"
    assert int.from_bytes(code[18:20], "little") == {"x86_64": 62, "aarch64": 183}[machine]
    assert len(code) < 4096
    assert b"ld-linux" not in code


def test_another_machine_is_an_error() -> None:
    with pytest.raises(KernelError):
        trampoline.code("m68k")


def test_the_file_cannot_be_changed() -> None:
    fd = trampoline.memory_file()

    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    os.close(fd)

    assert seals & 0xF == 0xF


def test_it_does_nothing_when_started_by_hand() -> None:
    fd = trampoline.memory_file()

    ended = subprocess.run(
        ["anything", "3", "x", "/bin/true", "true"],
        executable=f"/proc/self/fd/{fd}",
        pass_fds=(fd,),
        check=False,
    )
    os.close(fd)

    assert ended.returncode == 126
