"""A file system that loses everything it was not made to write: ext4, shut down in mid-build.

Spec: the EXT4_IOC_SHUTDOWN ioctl; with its flag 2 not even the journal reaches the disk.
"""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.oci.digest import key
from builder.oci.reference import parse_reference
from builder.store.fsck import fsck
from builder.store.store import Store
from tests.store.conftest import new_image, new_snapshot

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("mkfs.ext4") is None, reason="needs mkfs.ext4"),
]

SHUTDOWN, NO_FLUSH = 0x8004587D, 2
APP = parse_reference("app:v1")
FILES = 40


class Disk:
    """An ext4 image on a loop device."""

    def __init__(self, directory: Path) -> None:
        self.image = directory / "disk"
        self.path = directory / "mounted"
        self.path.mkdir()
        with self.image.open("wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(self.image)], check=True)
        self.mount()

    def mount(self) -> None:
        command = ["mount", "-o", "loop", str(self.image), str(self.path)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"no loop device: {done.stderr.strip()}")

    def cut_power(self) -> None:
        fd = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(fd, SHUTDOWN, struct.pack("I", NO_FLUSH))
        os.close(fd)

    def unmount(self) -> None:
        deadline = time.monotonic() + 10
        while subprocess.run(["umount", str(self.path)], check=False, stderr=-3).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        while subprocess.run(
            ["losetup", "-j", str(self.image)], check=True, capture_output=True
        ).stdout:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.unmount()


def build(root: str, number: int) -> None:
    """Make a cached state and an image of it, as a command does."""
    store = Store.open(root)
    record = store.records.find(key("fast", number))
    if record is None or record.snapshot is None:
        files = {f"f{n}": os.urandom(2000) for n in range(FILES)}
        snapshot = new_snapshot(store, None, files)
        store.records.save(
            key("fast", number), key("slow", number), snapshot=snapshot.id, step=key("step"),
            name="RUN", parts=(),
        )  # fmt: skip
    else:
        snapshot = store.snapshots.get(record.snapshot)
    store.images.tag(APP, new_image(store, snapshot))
    store.sync_later()


def build_apart(root: str, numbers: range) -> int:
    """Build in a child, as commands do, one store after the other; give its process ID."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        try:
            for number in numbers:
                build(root, number)
        finally:
            os._exit(0)
    return child


@pytest.mark.parametrize("pause_s", [0.0, 0.05, 0.15])
def test_what_was_told_survives_and_what_survives_is_whole(disk: Disk, pause_s: float) -> None:
    root = str(disk.path)
    os.waitpid(build_apart(root, range(1)), 0)
    child = build_apart(root, range(1, 50))
    time.sleep(pause_s)

    disk.cut_power()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    disk.unmount()
    disk.mount()

    with Store.open(root) as store:
        assert [p for p in fsck(store, is_repairing=False) if p.kind != "index"] == []
        assert store.images.get(APP) is not None
        for (snapshot_id,) in store.database.query("SELECT id FROM snapshots"):
            with store.snapshots.viewed(store.snapshots.get(snapshot_id)) as fd:
                sizes = [os.stat(name, dir_fd=fd).st_size for name in os.listdir(fd)]
                assert sizes == [2000] * FILES
    os.waitpid(build_apart(root, range(1)), 0)
    with Store.open(root) as store:
        assert fsck(store, is_repairing=False) == ()
