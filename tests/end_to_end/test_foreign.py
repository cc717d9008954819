"""Steps for another machine: by an emulator that binfmt_misc knows, or refused with the remedy.

The emulator is registered in a user namespace of the test's own, so nothing on the machine changes.
"""

import platform
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import clean_environment
from tests.end_to_end.site import entries

pytestmark = pytest.mark.namespaces

EMULATOR = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
INSTRUCTIONS = (
    0x92800C60,  # mov x0, #-100         AT_FDCWD
    0x100000E1,  # adr x1, the path behind the code
    0xD2803DA2,  # mov x2, #0755
    0xD2800448,  # mov x8, #34           mkdirat
    0xD4000001,  # svc #0
    0xD2800000,  # mov x0, #0
    0xD2800BA8,  # mov x8, #93           exit
    0xD4000001,  # svc #0
)
NOT_HERE = 77
SCRIPT = r"""
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || exit 77
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf %s ":qemu-aarch64:M::$magic:$mask:$EMULATOR:$FLAGS" \
    > /proc/sys/fs/binfmt_misc/register || exit 77
exec "$@"
"""


def arm_program(path: str) -> bytes:
    """Write a static program for arm64 that makes a directory, and nothing else."""
    code = struct.pack(f"<{len(INSTRUCTIONS)}I", *INSTRUCTIONS) + path.encode() + b"\0"
    base, header = 0x400000, 64 + 56
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    elf = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, base + header, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    size = header + len(code)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x10000)
    return ident + elf + segment + code


def build(directory: Path, flags: str) -> subprocess.CompletedProcess[str]:
    """Build for arm64 with an emulator registered; skip where that cannot be done."""
    if platform.machine() != "x86_64":
        pytest.skip("needs a machine that is no arm64 itself")
    if EMULATOR is None or shutil.which("unshare") is None:
        pytest.skip("needs qemu-user-static and unshare")
    (directory / "prog").write_bytes(arm_program("/made-by-arm"))
    (directory / "prog").chmod(0o755)
    (directory / "Dockerfile").write_text(
        'FROM scratch\nCOPY prog /bin/sh\nRUN ["/bin/sh"]\nRUN x\n'
    )
    done = subprocess.run(
        [
            "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh",
            sys.executable, "-m", "builder", "build", "--progress=plain", "--platform=linux/arm64",
            f"--output=type=tar,dest={directory / 'root.tar'}", str(directory),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={
            **clean_environment(), "BUILDER_ROOT": str(directory / "state"),
            "EMULATOR": EMULATOR, "FLAGS": flags,
        },
    )  # fmt: skip
    if done.returncode == NOT_HERE:
        pytest.skip(f"this kernel registers no emulator in a user namespace: {done.stderr}")
    return done


def test_a_step_for_another_machine_is_emulated(tmp_path: Path) -> None:
    done = build(tmp_path, "F")

    assert done.returncode == 0, done.stderr
    assert entries(tmp_path / "root.tar")["made-by-arm"].entry.isdir()


def test_an_emulator_that_steps_cannot_see_is_told_of(tmp_path: Path) -> None:
    done = build(tmp_path, "")

    assert done.returncode == 1
    assert "/bin/sh is a program for arm64, which this machine (amd64) cannot run" in done.stderr
    assert "register qemu-aarch64 with the flag F" in done.stderr
