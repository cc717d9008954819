"""What the file system refused, in words and with a remedy."""

import os
from errno import EACCES, EDQUOT, EIO, EMFILE, ENFILE, ENOSPC, EPERM, EROFS
from types import TracebackType

from builder.errors import KernelError, StoreError

FIX_SPACE = "free some space, for example with `builder prune`, or choose another --root"
FIX_READ_ONLY = "make the file system writable, or choose another --root"
FIX_DISK = "check the disk, then run `builder fsck --repair`"

_OF_THE_DISK = (EDQUOT, EIO, ENOSPC, EROFS)
"""What a system call of another package cannot be blamed for."""

_REMEDIES = {
    ENOSPC: ("no space is left on the file system of {path}", FIX_SPACE),
    EDQUOT: ("the disk quota is used up on the file system of {path}", FIX_SPACE),
    EROFS: ("{path} is on a read-only file system", FIX_READ_ONLY),
    EIO: ("the disk reported an error at {path}", FIX_DISK),
    EACCES: ("access to {path} was denied", "run as the owner of the state directory"),
    EPERM: ("access to {path} was refused", "run as the owner of the state directory"),
    EMFILE: ("too many files are open", "raise the limit with `ulimit -n`"),
    ENFILE: ("too many files are open on this machine", "raise fs.file-max"),
}


def store_error(error: OSError, path: str) -> StoreError:
    """Translate an error of a system call on the state directory."""
    about = error.filename if isinstance(error.filename, str) else path
    known = _REMEDIES.get(error.errno or 0)
    if known is None:
        return StoreError(f"{about}: {os.strerror(error.errno or EIO)}")
    what, fix = known
    return StoreError(what.format(path=about), fix=fix)


class translated:  # noqa: N801 - reads as a phrase: with translated(path)
    """Turn what the disk refused within the block into a StoreError; a context manager."""

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        """Keep the path to name where the error itself has none."""
        self._path = path

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise StoreError in place of an OSError or a full or failing disk; leave others alone."""
        if isinstance(error, OSError):
            raise store_error(error, self._path) from error
        if isinstance(error, KernelError) and error.errno in _OF_THE_DISK:
            raise store_error(OSError(error.errno, ""), self._path) from error
