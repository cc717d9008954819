"""Names of files: ordered as archives and digests need them, written down, found in layers."""

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


def encoded(names: Iterable[str]) -> bytes:
    """Write names in one piece, separated by NUL."""
    return os.fsencode("\0".join(names))


def decoded(content: bytes) -> list[str]:
    """Read what `encoded` wrote."""
    return os.fsdecode(content).split("\0") if content else []


def packed_names(names: Iterable[str]) -> bytes:
    """Write names down, for records of one size each to follow."""
    packed = encoded(names)
    return b"%d\n%b" % (len(packed), packed)


def split_names(content: bytes) -> tuple[list[str], bytes] | None:
    """Read what `packed_names` wrote, and what follows; None for anything else."""
    head, _, rest = content.partition(b"\n")
    if not head.isdigit():
        return None
    packed, records = rest[: int(head)], rest[int(head) :]
    return decoded(packed), records


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
