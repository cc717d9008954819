"""Kernels that lack the calls of the last years, as a tracer can pretend them."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("strace"), reason="needs strace"),
]
REPOSITORY = Path(__file__).resolve().parents[2]
ABSENT = (
    "openat2,open_tree,move_mount,mount_setattr,fsopen,fsconfig,fsmount,close_range,clone3,"
    "pidfd_open,faccessat2"
)
PROGRAM = """
import os, sys
from builder.kernel.namespaces import enter
from builder.sandbox.spec import Bind, FileMount, Overlay, Running, SandboxSpec
from builder.sandbox.zygote import Zygote
base = sys.argv[1]
enter()
null = os.open("/dev/null", os.O_RDWR)
with Zygote.start() as zygote:
    root = Overlay((f"{base}/lower", f"{base}/empty"), f"{base}/upper", f"{base}/work")
    script = (
        "ls /proc/self/fd | wc -l; cat /secret; touch /ro/x 2>/dev/null || echo protected;"
        "touch /proc/sys/kernel/domainname 2>/dev/null || echo masked;"
        "head -c 1 /proc/keys | wc -c"
    )
    mounts = (Bind("/ro", base + "/empty", is_read_only=True), FileMount("/secret", b"s\\n"))
    spec = SandboxSpec(root, ("/bin/sh", "-c", script), ("PATH=/bin",), seccomp="default")
    with zygote.launch(spec._replace(mounts=mounts), null, 1, 2) as sandbox:
        sandbox.started()
        print(sandbox.wait().status, flush=True)
"""


@pytest.mark.parametrize("absent", [ABSENT, "mount_setattr", "openat2,close_range", "clone:when=1"])
def test_a_sandbox_starts_without_new_calls(tree: Any, absent: str) -> None:
    (tree.base / "empty").mkdir()
    names, _, when = absent.partition(":")
    injection = f"inject={names}:error={'EINVAL' if when else 'ENOSYS'}" + (when and f":{when}")
    command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=none", "-e", injection]

    ended = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM, str(tree.base)],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=60,
    )

    assert (ended.stdout, ended.stderr) == ("4\ns\nprotected\nmasked\n0\n0\n", "")
    assert list((tree.base / "empty").iterdir()) == []
