"""What tests may rely on: probes behind the markers, base images, and the program itself.

The markers `root` and `namespaces` skip with the reason a probe of the real kernel gave.
"""

import ctypes
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None)  # how long anything takes is asserted nowhere
settings.load_profile("suite")

REPOSITORY = Path(__file__).resolve().parent.parent
CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_REC_PRIVATE = 0x4000 | 0x40000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip marked tests where the machine cannot run them."""
    for item in items:
        for marker, probe in (("root", without_root), ("namespaces", without_namespaces)):
            if item.get_closest_marker(marker) is not None and (reason := probe()):
                item.add_marker(pytest.mark.skip(reason=reason))


@cache
def without_root() -> str:
    """Say why tests marked `root` cannot run; empty if they can."""
    if os.geteuid() != 0:
        return "needs root"
    return in_child(lambda: overlay_mounted(CLONE_NEWNS)) and "root here may not mount"


@cache
def without_namespaces() -> str:
    """Say why tests marked `namespaces` cannot run; empty if they can."""
    flags = CLONE_NEWNS if os.geteuid() == 0 else CLONE_NEWNS | CLONE_NEWUSER
    return in_child(lambda: overlay_mounted(flags))


def in_child(action: Callable[[], str]) -> str:
    """Run an action in a forked child and give the text that it returned."""
    receiving, sending = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(sending, action().encode())
        finally:
            os._exit(0)
    os.close(sending)
    with open(receiving, "rb") as reader:
        text = reader.read().decode()
    os.waitpid(child, 0)
    return text


def overlay_mounted(flags: int) -> str:
    """Mount an overlay on a tmpfs in new namespaces; give the reason if that is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(flags) != 0:
        return f"no namespaces: {os.strerror(ctypes.get_errno())}"
    if flags & CLONE_NEWUSER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    libc.mount(None, b"/", None, MS_REC_PRIVATE, None)
    if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) != 0:
        return f"no mounts: {os.strerror(ctypes.get_errno())}"
    for name in ("lower", "upper", "work", "merged"):
        Path("/tmp", name).mkdir()
    options = b"lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work"
    options += b",userxattr" if flags & CLONE_NEWUSER else b""
    if libc.mount(b"overlay", b"/tmp/merged", b"overlay", 0, options) != 0:
        return f"no overlayfs: {os.strerror(ctypes.get_errno())}"
    return ""


@contextmanager
def once(path: Path) -> Iterator[bool]:
    """Hold a lock between test processes; True for the one that has to make the file."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not path.exists()


@pytest.fixture(scope="session")
def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory that all processes of this test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def busybox_archive(shared_directory: Path) -> Path:
    """Give an OCI archive with a busybox base image, made once a run."""
    path = shared_directory / "busybox.tar"
    with once(path) as is_missing:
        if is_missing:
            made = subprocess.run(
                [sys.executable, REPOSITORY / "tools/base-image", "busybox", path],
                check=False,
                capture_output=True,
                text=True,
            )
            if made.returncode != 0:
                pytest.skip(f"no busybox image: {made.stderr.strip()}")
    return path


@pytest.fixture
def builder(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    """Give a function that runs the program with a state directory of this test's own."""

    def run(
        *words: str, stdin: bytes = b"", timeout_s: float = 60, **environ: str
    ) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, "-X", "utf8", "-m", "builder", *words],
            check=False,
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            cwd=tmp_path,
            env={**clean_environment(), "BUILDER_ROOT": str(tmp_path / "state"), **environ},
        )

    return run


def clean_environment() -> dict[str, str]:
    """Give the part of this process' environment that the program may see in tests."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(REPOSITORY)}
