"""Names of files in the order that archives and digests need, and whether a layer has one."""

import os
from collections.abc import Iterable

from builder.errors import KernelError
from builder.kernel.paths import open_nofollow


def bytewise(names: Iterable[str]) -> list[str]:
    """Sort names as their bytes sort, whatever they are in."""
    ordered = sorted(names)
    if "".join(ordered).isascii():
        return ordered
    return sorted(ordered, key=os.fsencode)


def joined(directory: str, name: str) -> str:
    """Put a name behind a directory's path, which is empty for the root."""
    return f"{directory}/{name}" if directory else name


def is_in(directory: str, path: str) -> bool:
    """Whether a layer's directory, a path of ours, has anything at a path, be it a whiteout."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.close(open_nofollow(fd, path))
    except KernelError:
        return False
    finally:
        os.close(fd)
    return True
