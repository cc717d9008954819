"""Directories that are in a layer only because a mount point was in them for a while.

A mount point that the image lacks, such as /etc/hosts, is made for the step and removed after it;
but overlayfs has copied its directory up by then, and every later look into the layers would pay.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from stat import S_IMODE

from builder.kernel.owner import OWNER_XATTR
from builder.kernel.xattr import is_opaque, is_portable
from builder.values import NamedTuple

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Look(NamedTuple):
    """What a directory shows of itself."""

    mode_bits: int
    uid: int
    gid: int
    has_more: bool
    """Whether attributes say more."""
    mtime_ns: int


@contextmanager
def opened(name: str, dir_fd: int | None = None) -> Iterator[int]:
    """Open a directory that is not a link; raises OSError."""
    fd = os.open(name, _OPEN, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def look(fd: int) -> Look:
    """Look at an open directory."""
    status = os.fstat(fd)
    names = os.listxattr(fd)
    has_more = OWNER_XATTR in names or any(map(is_portable, names))
    mode_bits = S_IMODE(status.st_mode)
    return Look(mode_bits, status.st_uid, status.st_gid, has_more, status.st_mtime_ns)


def is_trace(upper_fd: int, name: str, lowers: Sequence[str], *, is_timeless: bool = False) -> bool:
    """Whether an entry right below the root is an empty directory that the lowers have just so.

    `lowers` are directories of layers, top first; if timeless, the directory's time says nothing.
    """
    holder = next((lower for lower in lowers if os.path.lexists(f"{lower}/{name}")), None)
    if holder is None:
        return False
    try:
        with (
            opened(name, upper_fd) as fd,
            opened(holder) as lower_fd,
            opened(name, lower_fd) as other_fd,
        ):
            own, other = look(fd), look(other_fd)
            if is_timeless:
                own = own._replace(mtime_ns=other.mtime_ns)
            return own == other and not own.has_more and not os.listdir(fd)
    except OSError:  # it is no directory
        return False


def remove_traces(
    upper_fd: int, names: Iterable[str], lowers: Sequence[str], *, userxattr: bool
) -> None:
    """Take directories out of a layer that is at rest, if they are traces; the rest stays."""
    for name in names:
        if not is_trace(upper_fd, name, lowers):
            continue
        with opened(name, upper_fd) as fd:
            hides_lower = is_opaque(fd, userxattr=userxattr)
        if not hides_lower:
            os.rmdir(name, dir_fd=upper_fd)
