"""Mounts, addressed by descriptor where the place is in a container's root.

A path inside a root is resolved once (kernel.paths) and the descriptor is mounted on, as
/proc/self/fd/N or by move_mount(2): between two resolutions of a string a hostile process could
put a link there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL, ENOSYS, EPERM

from builder.errors import KernelError
from builder.kernel import syscalls
from builder.values import NamedTuple

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 1 << 12
MS_MOVE = 1 << 13
MS_REC = 1 << 14
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2
PAGE_BYTES = 4096
"""mount(2) takes one page of options at most."""

_ATTRIBUTES = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC  # the same bits in MOUNT_ATTR_*
_FSCONFIG_STRING_BYTES = 255
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CREATE = 0, 1, 6
_OVERLAY_DEFAULTS = ("redirect_dir=nofollow", "metacopy=off", "index=off")
"""Whatever the machine's defaults: diffs stay self-contained, and no hostile xattr is followed."""


class Mount(NamedTuple):
    """The arguments of mount(2)."""

    source: str
    target: str
    fstype: str
    flags: int = 0
    options: str = ""

    def attach(self) -> None:
        """Perform the mount."""
        syscalls.mount(self.source, self.target, self.fstype, self.flags, self.options)


def place(fd: int) -> str:
    """Name the place behind a descriptor, for calls that only take a path."""
    return f"/proc/self/fd/{fd}"


def detach(target: str) -> None:
    """Unmount lazily what is on top at a target."""
    syscalls.umount(target, MNT_DETACH)


def set_propagation(target: str, kind: int) -> None:
    """Make a mount and all below it MS_PRIVATE, MS_SLAVE or MS_SHARED."""
    syscalls.mount("", target, "", kind | MS_REC)


def bind(
    source_fd: int,
    target_fd: int,
    *,
    attributes: int = 0,
    is_recursive: bool = True,
    propagation: int = 0,
) -> None:
    """Show what one descriptor refers to at the place of the other; both are O_PATH.

    Attributes are added (MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC) and the propagation set before
    anybody can see the mount, and with `is_recursive` on the mounts below it as well.
    """
    recursion = syscalls.AT_RECURSIVE if is_recursive else 0
    flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH | recursion
    try:
        tree = syscalls.open_tree(source_fd, "", flags)
        try:
            if attributes or propagation:
                syscalls.mount_setattr(
                    tree, recursion, attributes=attributes, propagation=propagation
                )
            syscalls.move_mount(tree, target_fd)
        finally:
            os.close(tree)
    except KernelError as error:
        if propagation or error.errno not in {ENOSYS, EPERM}:  # before 5.12; an old filter's answer
            raise
        _bind_by_path(source_fd, target_fd, attributes, is_recursive=is_recursive)


def _bind_by_path(source_fd: int, target_fd: int, attributes: int, *, is_recursive: bool) -> None:
    """Bind with mount(2), then find the new mount again to change its attributes."""
    recursion = MS_REC if is_recursive else 0
    syscalls.mount(place(source_fd), place(target_fd), "", MS_BIND | recursion)
    if not attributes:
        return
    fd = os.open(os.readlink(place(target_fd)), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not os.path.samestat(os.fstat(fd), os.fstat(source_fd)):
            raise KernelError("mount", EINVAL, os.readlink(place(target_fd)))
        remount(place(fd), attributes)
    finally:
        os.close(fd)


def remount(target: str, attributes: int) -> None:
    """Add attributes to the mount that is on top at the target."""
    present = os.statvfs(target).f_flag & _ATTRIBUTES  # a user namespace may not clear any
    syscalls.mount("", target, "", MS_REMOUNT | MS_BIND | present | attributes)


def mount_overlay(
    target: str,
    lowers: tuple[str, ...],
    upper: str = "",
    work: str = "",
    *,
    flags: int = 0,
    userxattr: bool = False,
    is_volatile: bool = False,
) -> None:
    """Mount a stack of directories (absolute paths, top first) on a directory.

    One lower without an upper is bound read-only, an upper without lowers is bound as it is. If
    the options exceed a page, the calling thread gets a working directory of its own, for short
    names.
    """
    if len(lowers) + bool(upper) == 1:
        _mount_single(target, upper or lowers[0], flags | (0 if upper else MS_RDONLY))
        return
    extra = ("userxattr",) * userxattr + ("volatile",) * (is_volatile and bool(upper))
    options = overlay_options(lowers, upper, work, extra=extra)
    if len(options) < PAGE_BYTES and "\\" not in options:
        syscalls.mount("overlay", target, "overlay", flags, options)
        return
    syscalls.unshare(syscalls.CLONE_FS)
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _short_names(lowers, upper, work) as (short_lowers, short_upper, short_work):
            options = overlay_options(short_lowers, short_upper, short_work, extra=extra)
            syscalls.mount("overlay", target, "overlay", flags, options)
    finally:
        os.fchdir(before)
        os.close(before)


def overlay_options(
    lowers: tuple[str, ...], upper: str, work: str, *, extra: tuple[str, ...] = ()
) -> str:
    """Write the options of an overlay mount, names escaped as the kernel reads them back."""
    options = ["lowerdir=" + ":".join(_escaped(lower) for lower in lowers)]
    if upper:
        options += [f"upperdir={_escaped(upper)}", f"workdir={_escaped(work)}"]
    return ",".join([*options, *_OVERLAY_DEFAULTS, *extra])


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace(":", "\\:").replace(",", "\\,")


def _mount_single(target: str, path: str, flags: int) -> None:
    source_fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    target_fd = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bind(source_fd, target_fd, attributes=flags, is_recursive=False)
    finally:
        os.close(source_fd)
        os.close(target_fd)


@contextmanager
def _short_names(
    lowers: tuple[str, ...], upper: str, work: str
) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Change to a directory from which all names are short, and yield those."""
    parent = os.path.commonpath(lowers)
    relative = tuple(os.path.relpath(lower, parent) for lower in lowers)
    options = overlay_options(relative, upper, work, extra=("userxattr", "volatile"))
    if len(options) < PAGE_BYTES and "\\" not in options:
        os.chdir(parent)
        yield relative, upper, work
        return
    with _scratch_directory() as directory:
        os.chdir(directory)
        names = [f"{number:x}" for number in range(len(lowers))]
        links = [*zip(names, lowers, strict=True), ("u", upper), ("w", work)]
        try:
            for name, path in links:
                os.symlink(path or "/", name)
            yield tuple(names), upper and "u", work and "w"
        finally:
            for name, _ in links:
                with suppress(FileNotFoundError):
                    os.unlink(f"{directory}/{name}")


@contextmanager
def _scratch_directory() -> Iterator[str]:
    path = f"/tmp/.builder-overlay-{os.urandom(8).hex()}"  # noqa: S108 - made exclusively
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        os.rmdir(path)


@contextmanager
def mounted_overlay(
    lowers: tuple[str, ...],
    upper: str = "",
    work: str = "",
    *,
    userxattr: bool = False,
    is_volatile: bool = False,
) -> Iterator[int]:
    """Yield a directory descriptor of a stack that is mounted nowhere that others could see."""
    extra = ("userxattr",) * userxattr + ("volatile",) * (is_volatile and bool(upper))
    fd = _opened_single(lowers, upper)
    if fd is None:
        fd = _detached_overlay(lowers, upper, work, extra)
    if fd is None:
        with _scratch_directory() as directory:
            mount_overlay(
                directory, lowers, upper, work, userxattr=userxattr, is_volatile=is_volatile
            )
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            detach(directory)
    try:
        yield fd
    finally:
        os.close(fd)


def _opened_single(lowers: tuple[str, ...], upper: str) -> int | None:
    if len(lowers) + bool(upper) != 1:
        return None
    return os.open(upper or lowers[0], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _detached_overlay(
    lowers: tuple[str, ...], upper: str, work: str, extra: tuple[str, ...]
) -> int | None:
    """Mount by the calls of 5.2 with `lowerdir+` of 6.7; None where that cannot be."""
    longest = max(len(os.fsencode(path)) for path in (*lowers, upper, work))
    if longest > _FSCONFIG_STRING_BYTES or any("\\" in _escaped(path) for path in (upper, work)):
        return None
    pairs = [("lowerdir+", lower) for lower in lowers]
    if upper:
        pairs += [("upperdir", upper), ("workdir", work)]
    pairs += [(key, value) for key, _, value in (text.partition("=") for text in _OVERLAY_DEFAULTS)]
    try:
        context = syscalls.fsopen("overlay")
    except KernelError:
        return None
    try:
        for key, value in pairs:
            syscalls.fsconfig(context, _FSCONFIG_SET_STRING, key, value)
        for key in extra:
            syscalls.fsconfig(context, _FSCONFIG_SET_FLAG, key)
        syscalls.fsconfig(context, _FSCONFIG_CREATE, "")
        return _readable(syscalls.fsmount(context, 0))
    except KernelError as error:
        if error.errno in {EINVAL, ENOSYS}:
            return None  # the older way repeats a real mistake, and reports it
        raise
    finally:
        os.close(context)


def _readable(fd: int) -> int:
    """Turn the O_PATH descriptor of a mount into one that can be listed."""
    try:
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    finally:
        os.close(fd)
