"""Mount points: made where the image lacks them, and taken away again when the step is over.

A step could move what holds a stub and put a link in its place, so a stub is known by its inode and
reached through real directories only; one that is no longer empty is content and stays.
"""

import os
from errno import EEXIST, ELOOP, ENOENT, ENOTDIR
from stat import S_ISDIR, S_ISREG

from builder.errors import KernelError
from builder.kernel import paths
from builder.sandbox.spec import Stub

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTRY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40


class MountPoints:
    """Finds mount points below a root, links followed inside it, and makes the missing ones.

    `upper_fd` is the directory in which new entries of the root really appear. Runs while no
    hostile process does; the umask must be 0.
    """

    def __init__(self, root_fd: int, upper_fd: int) -> None:
        """Borrow both descriptors."""
        self._root_fd = root_fd
        self._upper_fd = upper_fd
        self._prefix_length = len(os.readlink(f"/proc/self/fd/{root_fd}").rstrip("/"))
        self.stubs: list[Stub] = []

    def open(self, target: str, *, is_directory: bool) -> int:
        """Open (O_PATH) a mount point of the right kind, made if need be; KernelError if not."""
        try:
            fd = paths.open_in_root(self._root_fd, target)
        except KernelError as error:
            if error.errno != ENOENT:
                raise
            fd = self._make(target, _MAX_LINKS, is_directory=is_directory)
        if S_ISDIR(os.fstat(fd).st_mode) != is_directory:
            os.close(fd)
            raise KernelError("mount", ENOTDIR if is_directory else EEXIST, target)
        return fd

    def open_real(self, name: str) -> int:
        """Open a directory right below the root, made if need be; KernelError for a link."""
        try:
            return os.open(name, _ENTRY | os.O_DIRECTORY, dir_fd=self._root_fd)
        except FileNotFoundError:
            return self._create(self._root_fd, name, is_directory=True)
        except OSError as error:
            raise KernelError("open", error.errno or 0, f"/{name}") from None

    def _make(self, target: str, links: int, *, is_directory: bool) -> int:
        """Open a target of which some part does not exist."""
        parts = [part for part in target.split("/") if part not in {"", "."}]
        reached = os.dup(self._root_fd)
        for position, name in enumerate(parts):
            is_last = position == len(parts) - 1
            try:
                fd = paths.open_in_root(self._root_fd, "/".join(parts[: position + 1]))
            except KernelError as error:
                if error.errno != ENOENT:
                    raise
                fd = self._make_one(reached, name, links, is_directory=is_directory or not is_last)
            os.close(reached)
            reached = fd
        return reached

    def _make_one(self, parent_fd: int, name: str, links: int, *, is_directory: bool) -> int:
        """Make an entry, or what the dangling link of this name points at."""
        try:
            return self._create(parent_fd, name, is_directory=is_directory)
        except KernelError as error:
            if error.errno != EEXIST:
                raise
        if links == 0:
            raise KernelError("open", ELOOP, name)
        link = os.readlink(name, dir_fd=parent_fd)
        target = link if link.startswith("/") else f"{self._path(parent_fd)}/{link}"
        return self._make(target, links - 1, is_directory=is_directory)

    def _create(self, parent_fd: int, name: str, *, is_directory: bool) -> int:
        before_ns = os.fstat(parent_fd).st_mtime_ns
        try:
            if is_directory:
                os.mkdir(name, 0o755, dir_fd=parent_fd)
            else:
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(name, flags, 0o644, dir_fd=parent_fd))
        except OSError as error:
            raise KernelError("mkdir" if is_directory else "open", error.errno or 0, name) from None
        self._remember(parent_fd, name, before_ns, is_directory=is_directory)
        return os.open(name, _ENTRY, dir_fd=parent_fd)

    def _remember(self, parent_fd: int, name: str, before_ns: int, *, is_directory: bool) -> None:
        path = f"{self._path(parent_fd)}/{name}".lstrip("/")
        try:
            status = os.stat(path, dir_fd=self._upper_fd, follow_symlinks=False)
        except OSError:
            return  # in a mount of its own: not part of the root
        after_ns = os.fstat(parent_fd).st_mtime_ns
        stub = Stub(path, status.st_dev, status.st_ino, is_directory, before_ns, after_ns)
        self.stubs.append(stub)

    def _path(self, fd: int) -> str:
        """Give the real path of a directory below the root."""
        return os.readlink(f"/proc/self/fd/{fd}")[self._prefix_length :]


def remove_stubs(
    upper_fd: int, stubs: tuple[Stub, ...], kept: frozenset[str] = frozenset()
) -> None:
    """Remove the stubs that are still what was made, and give their parents the old times back.

    A parent's time is restored only if nothing else changed in it. Those in `kept`, right below the
    root, stay, and get the root's old time. Call when no process of the sandbox is left. Raises
    KernelError.
    """
    root_ns = min((stub.parent_before_ns for stub in stubs if "/" not in stub.path), default=0)
    for stub in reversed(stubs):
        parent, _, name = stub.path.rpartition("/")
        try:
            parent_fd = _open_real_directory(upper_fd, parent)
        except OSError:
            continue  # it was moved: whatever is there now is the step's own
        try:
            _remove(parent_fd, name, stub, root_ns if stub.path in kept else None)
        except OSError as error:
            raise KernelError("unlink", error.errno or 0, stub.path) from None
        finally:
            os.close(parent_fd)


def _open_real_directory(root_fd: int, path: str) -> int:
    fd = os.open(".", _DIRECTORY, dir_fd=root_fd)
    for name in path.split("/") if path else ():
        try:
            following = os.open(name, _DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = following
    return fd


def _remove(parent_fd: int, name: str, stub: Stub, kept_ns: int | None) -> None:
    try:
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if (status.st_dev, status.st_ino) != (stub.device, stub.inode):
        return
    parent = os.fstat(parent_fd)
    if kept_ns is not None:
        os.utime(name, ns=(kept_ns, kept_ns), dir_fd=parent_fd, follow_symlinks=False)
    elif stub.is_directory:
        if not S_ISDIR(status.st_mode) or os.listdir(_entry(parent_fd, name)):
            return
        os.rmdir(name, dir_fd=parent_fd)
    else:
        if not S_ISREG(status.st_mode) or status.st_size > 0:
            return
        os.unlink(name, dir_fd=parent_fd)
    if parent.st_mtime_ns == stub.parent_after_ns:
        os.utime(parent_fd, ns=(parent.st_atime_ns, stub.parent_before_ns))


def _entry(parent_fd: int, name: str) -> str:
    return f"/proc/self/fd/{parent_fd}/{name}"
