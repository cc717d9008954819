"""Seed: what a new cache mount starts with, copied from a stage, an image or the context."""

import os

from builder.executors.bench import Bench
from builder.executors.sources import opened_source
from builder.graph.ops import Copy
from builder.layers import copy as copying
from builder.solver.protocols import Result


def seed_directory(path: str, source: Result, sub_path: str, bench: Bench) -> None:
    """Copy the source directory's children into a fresh cache directory."""
    root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        action = Copy(
            0,
            sub_path or "/",
            "/",
            allow_wildcard=False,
            is_context=source.context is not None,
        )
        with opened_source(bench, source) as tree:
            copying.copy(action, tree, root_fd, can_mknod=bench.privileges.is_root)
    finally:
        os.close(root_fd)
