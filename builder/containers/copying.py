"""`cp`: files between a container and the host.

Inside the container every path is resolved below its root by descriptor; outside, names that the
container chose are only ever created below the destination, with `*at()` calls that follow no
links, and without set-user-ID bits unless the archive is to be kept as it is.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress

from builder.errors import Conflict, KernelError, NotFound
from builder.kernel import owner, paths, xattr
from builder.layers.extract import extract_archive
from builder.layers.tar import Entry, Kind
from builder.layers.tarwriter import Buffer, Writer
from builder.values import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20
_SPECIAL_BITS = 0o7000


class Rules(NamedTuple):
    """Whose the copies are, and which bits they keep."""

    owner: tuple[int, int] | None
    """None: as in the source."""
    keeps_special_bits: bool


class Place(NamedTuple):
    """A parent directory, open, and a name in it; `.` is the directory itself."""

    parent_fd: int
    name: str


def source_in(root_fd: int, path: str, *, follow_links: bool) -> tuple[Place, bool]:
    """Find what to copy below a root; also whether its content alone is meant (`/.`).

    Raises NotFound. The caller closes the descriptor.
    """
    is_content = path.endswith("/.") or path == "."
    flags = os.O_PATH
    try:
        found = (
            paths.open_in_root(root_fd, path, flags)
            if follow_links or is_content or path.endswith("/")
            else paths.open_nofollow(root_fd, path, flags)
        )
    except KernelError:
        raise NotFound(f"Could not find the file {path} in container") from None
    if stat.S_ISDIR(os.fstat(found).st_mode):
        directory = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(found)
        return Place(directory, "."), is_content
    if follow_links:
        resolved = os.readlink(f"/proc/self/fd/{found}")
        os.close(found)
        top = os.readlink(f"/proc/self/fd/{root_fd}").rstrip("/")
        path = resolved.removeprefix(top)
    else:
        os.close(found)
    parent_fd, name = paths.open_parent(root_fd, path)
    return Place(parent_fd, name), False


def copy(
    source: Place, *, is_content: bool, name: str, root_fd: int, dest: str, rules: Rules
) -> None:
    """Copy a file or directory called `name` to `dest` below a root, by the rules of cp.

    An existing directory takes it inside; a missing destination becomes it; a slash at the end of
    a missing one is an error, and so is a directory onto a file.
    """
    is_directory = source.name == "."
    kind = _kind_of(root_fd, dest)
    if kind == "file" and (is_directory or dest.endswith("/")):
        raise Conflict(f"cannot copy a directory onto the file {dest}")
    if kind == "directory":
        into = paths.open_in_root(root_fd, dest, os.O_RDONLY | os.O_DIRECTORY)
        target = "." if is_content else name
    else:
        if kind == "missing" and dest.endswith("/") and not is_directory:
            raise NotFound(f"the directory {dest} does not exist", fix="make it first")
        try:
            parent_fd, target = paths.open_parent(root_fd, dest.rstrip("/"))
        except KernelError:
            raise NotFound(f"no such directory: {os.path.dirname(dest.rstrip('/'))}") from None
        into = os.open(f"/proc/self/fd/{parent_fd}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        os.close(parent_fd)
    try:
        if is_directory:
            _copy_tree(source.parent_fd, into, target, rules)
        else:
            _copy_entry(source, Place(into, target), rules)
    finally:
        os.close(into)


def write_tar(
    source: Place, *, is_content: bool, name: str, write: Callable[[Buffer], object]
) -> None:
    """Write a file or directory as a tar archive whose members begin with `name`."""
    writer = Writer(write)
    if source.name != ".":
        _add(writer, source, name)
    else:
        prefix = "." if is_content else name
        _add_tree(writer, source.parent_fd, prefix)
    writer.close()


def read_tar(stream: int, root_fd: int, dest: str, rules: Rules) -> None:
    """Unpack a tar archive, compressed or not, into a directory that exists; raise NotFound."""
    if _kind_of(root_fd, dest) != "directory":
        raise NotFound(f"{dest} is no directory of the container", fix="make it first")
    into = paths.open_in_root(root_fd, dest, os.O_RDONLY | os.O_DIRECTORY)
    try:
        extract_archive(stream, into, owner=rules.owner)
    finally:
        os.close(into)


def _kind_of(root_fd: int, path: str) -> str:
    try:
        fd = paths.open_in_root(root_fd, path)
    except KernelError:
        return "missing"
    try:
        return "directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
    finally:
        os.close(fd)


def _copy_tree(source_fd: int, into: int, target: str, rules: Rules) -> None:
    """Copy a directory; the same names merge, as tar would have it."""
    pending: list[str] = [""]
    top = into if target == "." else _made_directory(into, target)
    try:
        while pending:
            prefix = pending.pop()
            from_fd = _opened(source_fd, prefix)
            try:
                to_fd = _opened(top, prefix)
                try:
                    pending += _copy_children(from_fd, to_fd, prefix, rules)
                    if prefix or target != ".":
                        _copy_metadata(from_fd, to_fd, rules)
                finally:
                    os.close(to_fd)
            finally:
                os.close(from_fd)
    finally:
        if top != into:
            os.close(top)


def _copy_children(from_fd: int, to_fd: int, prefix: str, rules: Rules) -> list[str]:
    directories = []
    for name in os.listdir(from_fd):
        if stat.S_ISDIR(os.stat(name, dir_fd=from_fd, follow_symlinks=False).st_mode):
            os.close(_made_directory(to_fd, name))
            directories.append(f"{prefix}{name}/")
        else:
            _copy_entry(Place(from_fd, name), Place(to_fd, name), rules)
    return directories


def _made_directory(parent_fd: int, name: str) -> int:
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent_fd)
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent_fd)
    except OSError as error:
        raise Conflict(f"{name} is there already and no directory: {error.strerror}") from None


def _opened(root_fd: int, path: str) -> int:
    return paths.open_in_root(root_fd, path or ".", os.O_RDONLY | os.O_DIRECTORY)


def _copy_entry(source: Place, dest: Place, rules: Rules) -> None:
    status = os.stat(source.name, dir_fd=source.parent_fd, follow_symlinks=False)
    _make_room(dest)
    if stat.S_ISREG(status.st_mode):
        _copy_file(source, dest, rules)
    elif stat.S_ISLNK(status.st_mode):
        target = os.readlink(source.name, dir_fd=source.parent_fd)
        os.symlink(target, dest.name, dir_fd=dest.parent_fd)
        uid, gid = rules.owner or (status.st_uid, status.st_gid)
        owner.change_owner_at(dest.parent_fd, dest.name, uid, gid)
    elif stat.S_ISFIFO(status.st_mode):
        os.mkfifo(dest.name, stat.S_IMODE(status.st_mode), dir_fd=dest.parent_fd)


def _make_room(dest: Place) -> None:
    """Remove a file that is in the way; a directory is not replaced by a file."""
    try:
        os.unlink(dest.name, dir_fd=dest.parent_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        raise Conflict(f"{dest.name} is in the way: {error.strerror}") from None


def _copy_file(source: Place, dest: Place, rules: Rules) -> None:
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    reading = os.open(source.name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=source.parent_fd)
    try:
        making = os.O_WRONLY | os.O_CREAT | os.O_EXCL | flags
        writing = os.open(dest.name, making, 0o600, dir_fd=dest.parent_fd)
        try:
            while os.sendfile(writing, reading, None, _CHUNK_BYTES):
                pass
            _copy_metadata(reading, writing, rules)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _copy_metadata(reading: int, writing: int, rules: Rules) -> None:
    status = os.fstat(reading)
    uid, gid = rules.owner or owner.kept_owner(reading) or (status.st_uid, status.st_gid)
    owner.change_owner(writing, uid, gid)
    mode = stat.S_IMODE(status.st_mode)
    if rules.keeps_special_bits:
        xattr.set_all(writing, xattr.portable(xattr.get_all(reading)))
    else:
        mode &= ~_SPECIAL_BITS
    os.fchmod(writing, mode)
    os.utime(writing, ns=(status.st_atime_ns, status.st_mtime_ns))


def _add_tree(writer: Writer, top_fd: int, name: str) -> None:
    pending = [""]
    while pending:
        prefix = pending.pop()
        fd = _opened(top_fd, prefix)
        try:
            member = f"{name}/{prefix}".rstrip("/")
            writer.add(_entry(member, "directory", os.fstat(fd)))
            for child in sorted(os.listdir(fd)):
                if stat.S_ISDIR(os.stat(child, dir_fd=fd, follow_symlinks=False).st_mode):
                    pending.append(f"{prefix}{child}/")
                else:
                    _add(writer, Place(fd, child), f"{name}/{prefix}{child}")
        finally:
            os.close(fd)


def _add(writer: Writer, source: Place, name: str) -> None:
    status = os.stat(source.name, dir_fd=source.parent_fd, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(source.name, dir_fd=source.parent_fd)
        writer.add(_entry(name, "symlink", status)._replace(link_name=target))
    elif stat.S_ISREG(status.st_mode):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(source.name, flags, dir_fd=source.parent_fd)
        try:
            status = os.fstat(fd)
            writer.add_file(_entry(name, "file", status)._replace(size_bytes=status.st_size), fd)
        finally:
            os.close(fd)
    elif stat.S_ISFIFO(status.st_mode):
        writer.add(_entry(name, "fifo", status))


def _entry(name: str, kind: Kind, status: os.stat_result) -> Entry:
    return Entry(
        name,
        kind,
        mode_bits=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        mtime_ns=status.st_mtime_ns,
    )
