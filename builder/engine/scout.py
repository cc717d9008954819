"""Looking at a large context ahead of the build, in the forerunner's process.

The scout lists the directories that the last build looked at, the last first; the build comes from
the other end, and takes what has been listed by then. What it finds goes to a memory file: nobody
waits for anybody. It says of a directory only that it is as the memo has it, or what it is now.
"""

import marshal
import os
from collections.abc import Callable
from contextlib import suppress

from builder.errors import KernelError
from builder.kernel.paths import open_nofollow
from builder.layers.folder import Folder, listed
from builder.layers.memo import Memo
from builder.oci.digest import hex_of, key

FOLDER = "memos"
"""The folder of the state directory that keeps memos."""
_FEW_FILES = 1000
_LENGTH_BYTES = 4
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def memo_path(state: str, context: str) -> str:
    """Name the memo of a context directory in a state directory."""
    return f"{state}/{FOLDER}/{hex_of(key('memo/1', os.path.realpath(context)))}"


def read_memo(path: str) -> tuple[Memo, int]:
    """Read a memo, and what tells this version of the file from others."""
    try:
        with open(path, "rb") as stream:
            return Memo(stream.read()), os.fstat(stream.fileno()).st_ino
    except OSError:
        return Memo(), 0


def scout(
    context: str, root: str, out_fd: int, *, is_wanted: Callable[[], bool] = lambda: True
) -> None:
    """List what the memo knows of a context, from its end; raise OSError or KernelError."""
    memo, version = read_memo(memo_path(root, context))
    folders = list(memo.paths())
    if sum(known.files for _, known in folders) < _FEW_FILES:
        return
    root_fd = os.open(context, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _tell(out_fd, (version,))
    for path, known in reversed(folders):
        if not is_wanted():
            return
        with suppress(OSError, KernelError):  # the build will meet it
            fd = open_nofollow(root_fd, path, _DIRECTORY)
            try:
                folder = listed(fd)
            finally:
                os.close(fd)
            if known.is_of(folder):
                _tell(out_fd, (path,))
            elif folder.is_plain:
                _tell(out_fd, (path, folder.names, folder.statuses))


def _tell(out_fd: int, message: tuple[int | str | bytes, ...]) -> None:
    content = marshal.dumps(message)
    os.write(out_fd, len(content).to_bytes(_LENGTH_BYTES, "little") + content)


class Findings:
    """What a scout has found so far, for the build whose memo it had."""

    def __init__(self, fd: int, memo: Memo, version: int) -> None:
        """Read from a scout's memory file, which stays the caller's; -1 is none."""
        self._fd = fd
        self._memo = memo
        self._version = version
        self._at = 0
        self._has_begun = self._is_ours = False
        self._found: dict[str, tuple[bytes, ...]] = {}

    def folder(self, path: str) -> Folder | None:
        """Give a directory as the scout listed it; None if it has not, or had another memo."""
        if path not in self._found:
            self._read()
        found = self._found.get(path)
        if found:
            return Folder(None, *found)
        known = None if found is None else self._memo.find(path)
        return None if known is None else Folder(None, known.names, known.statuses)

    def _read(self) -> None:
        """Take what is new."""
        if self._fd < 0:
            return
        content = os.pread(self._fd, os.fstat(self._fd).st_size - self._at, self._at)
        at = 0
        while at + _LENGTH_BYTES <= len(content):
            start = at + _LENGTH_BYTES
            end = start + int.from_bytes(content[at:start], "little")
            if end > len(content):
                break
            self._note(*marshal.loads(memoryview(content)[start:end]))  # noqa: S302 - our own process'
            at = end
        self._at += at

    def _note(self, first: str | int, *rest: bytes) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._is_ours = first == self._version
        elif self._is_ours:
            self._found[str(first)] = rest
