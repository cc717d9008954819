"""Where an archive goes: a file that appears whole or not at all, a device, or standard output.

The file is not synced: an export can be repeated, and everything it holds is still in the store.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from builder.errors import Conflict, KernelError, NotFound
from builder.exporters.output import STDOUT


@contextmanager
def written(dest: str, stdout: int) -> Iterator[int]:
    """Give a descriptor to write to; if the body fails, a regular file is as it was before.

    A link is followed: its target is replaced. Pipes and devices are written directly.
    """
    if dest == STDOUT:
        yield stdout
        return
    path = os.path.realpath(dest)
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except OSError:
        kind = stat.S_IFREG
    if kind == stat.S_IFDIR:
        raise Conflict(f"{dest} is a directory", fix="name a file")
    if kind == stat.S_IFREG:
        with _replaced(path) as descriptor:
            yield descriptor
        return
    descriptor = _opened(path, os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _replaced(path: str) -> Iterator[int]:
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name[:200]}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = _opened(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        yield descriptor
        try:
            os.rename(temporary, path)
        except OSError as error:  # a sticky directory, and somebody else's file
            raise KernelError("rename", error.errno or 0, path) from None
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def _opened(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            folder = os.path.dirname(path)
            raise NotFound(f"{folder} is not a directory", fix="create it first") from None
        raise KernelError("open", error.errno or 0, path) from None
