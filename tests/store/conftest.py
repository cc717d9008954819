"""Stores in temporary directories, and ways to put something into them."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from builder.oci import config as oci_config
from builder.oci import descriptor as oci_descriptor
from builder.oci import media
from builder.oci.config import ImageConfig
from builder.oci.descriptor import Descriptor, Manifest
from builder.oci.platform import Platform
from builder.store.snapshotter import Snapshot
from builder.store.store import Store

Files = Mapping[str, bytes | None]
AddSnapshot = Callable[[Store, Snapshot | None, Files], Snapshot]
AddImage = Callable[[Store, Snapshot | None], Descriptor]


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@pytest.fixture
def store(root: str) -> Iterator[Store]:
    with Store.open(root) as opened:
        yield opened


@pytest.fixture
def add_snapshot() -> AddSnapshot:
    return new_snapshot


@pytest.fixture
def add_image() -> AddImage:
    return new_image


@pytest.fixture
def in_killed_child() -> Callable[[Callable[[], None]], None]:
    return run_and_kill


def new_snapshot(store: Store, parent: Snapshot | None, files: Files) -> Snapshot:
    """Commit a state with some files written, or deleted where the content is None."""
    active = store.snapshots.prepare(parent)
    with store.snapshots.mounted(active) as fd:
        for path, content in files.items():
            if content is None:
                os.unlink(path, dir_fd=fd)
            else:
                write_file(fd, path, content)
    return store.snapshots.commit(active, name="RUN test")


def new_image(store: Store, snapshot: Snapshot | None) -> Descriptor:
    """Store an image of a snapshot's layers, without a name."""
    layers = store.layers.ensure_all(snapshot)
    config = oci_config.to_json(
        ImageConfig(Platform("linux", "amd64"), diff_ids=tuple(x.diff_id for x in layers))
    )
    digest = store.content.put(config)
    manifest = oci_descriptor.to_json(
        Manifest(
            media.MANIFEST,
            Descriptor(media.CONFIG, digest, len(config)),
            tuple(layer.descriptor for layer in layers),
        )
    )
    return Descriptor(media.MANIFEST, store.content.put(manifest), len(manifest))


def write_file(dir_fd: int, path: str, content: bytes) -> None:
    """Write a file, making its directories."""
    parent = os.path.dirname(path)
    if parent:
        os.makedirs(f"/proc/self/fd/{dir_fd}/{parent}", exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=dir_fd)
    os.write(fd, content)
    os.close(fd)


def run_and_kill(work: Callable[[], None]) -> None:
    """Run something in a child that then dies as if by kill -9."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
