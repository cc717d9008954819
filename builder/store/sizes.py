"""What directories of ours take on disk."""

import os

from builder.kernel import trees
from builder.store.failure import translated


def directory_size(path: str) -> int:
    """Count the bytes that a tree takes on disk, a file with several names once."""
    with translated(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return trees.disk_usage(fd)[0]
        finally:
            os.close(fd)
