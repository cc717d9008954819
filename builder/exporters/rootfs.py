"""Merged root file systems of images: as files in a directory, or as one plain tar archive."""

import os
from collections.abc import Iterator, Sequence

from builder.exporters.blobs import copy_file, write_all
from builder.exporters.destination import written
from builder.exporters.folder import export_folder
from builder.exporters.output import Output
from builder.exporters.result import ImageResult
from builder.layers.diff import Change, changes
from builder.layers.layer import write_changes
from builder.layers.tar import Entry
from builder.oci.platform import Platform
from builder.store.store import Store

_FOLDER_MODE = 0o755


def write_roots(
    output: Output, images: Sequence[ImageResult], store: Store, stdout: int, epoch_s: int | None
) -> None:
    """Write the files of images, of several platforms each in a folder of its own."""
    is_split = len(images) > 1 if output.is_split is None else output.is_split
    folders = [_folder_name(image.platform) if is_split else "" for image in images]
    if output.type == "local":
        for image, folder in zip(images, folders, strict=True):
            with store.snapshots.viewed(image.snapshot) as root_fd:
                dest = os.path.join(output.dest, folder)
                export_folder(root_fd, dest, is_deleting=output.is_deleting)
        return
    max_mtime_s = epoch_s if output.is_rewriting_timestamps else None
    with written(output.dest, stdout) as out:
        members = _all_members(store, images, folders)
        write_changes(
            members,
            lambda piece: write_all(out, piece),
            max_mtime_s,
            copy=lambda fd, size_bytes: copy_file(fd, size_bytes, out),
        )


def rootfs_members(root_fd: int, *, userxattr: bool, folder: str = "") -> Iterator[Change]:
    """Give all files of a merged root, sorted, below `folder` if that is not empty."""
    prefix = f"{folder}/" if folder else ""
    if folder:
        yield Change(Entry(folder, "directory", mode_bits=_FOLDER_MODE), -1)
    for entry, fd in changes(f"/proc/self/fd/{root_fd}", (), userxattr=userxattr):
        link = prefix + entry.link_name if entry.kind == "hardlink" else entry.link_name
        yield Change(entry._replace(name=prefix + entry.name, link_name=link), fd)


def _all_members(
    store: Store, images: Sequence[ImageResult], folders: Sequence[str]
) -> Iterator[Change]:
    for image, folder in zip(images, folders, strict=True):
        with store.snapshots.viewed(image.snapshot) as root_fd:
            yield from rootfs_members(root_fd, userxattr=store.snapshots.userxattr, folder=folder)


def _folder_name(platform: Platform) -> str:
    return str(platform).replace("/", "_")
