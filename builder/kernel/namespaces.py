"""Entering the world in which the engine works: id 0, over a mount table of its own.

After `enter`, root and ordinary users run the same code. What is mounted afterwards nobody else
sees, and it vanishes with the engine's last process.
"""

import os
from errno import EINVAL, ENOSPC, EPERM

from builder.errors import KernelError
from builder.kernel import idmap, mounts, syscalls
from builder.kernel.idmap import Range
from builder.values import NamedTuple

_INITIAL_USER_NAMESPACE = 0xEFFF_FFFD
"""Its inode, fixed since 3.8; the id map of another may look just like its own."""


class Privileges(NamedTuple):
    """What the engine may do, once it has entered."""

    is_root: bool
    """Root of the machine, in the initial user namespace."""
    is_single_uid: bool
    """Only one id exists: files of other owners cannot be made."""
    uid_ranges: tuple[Range, ...]
    gid_ranges: tuple[Range, ...]
    userxattr: bool
    """Overlays must be mounted with `userxattr`, their marks are `user.overlay.*`."""


def enter(*, join_pid: int | None = None) -> Privileges:
    """Become id 0 over a private mount table; the caller must be single-threaded.

    Ordinary users, and root without CAP_SYS_ADMIN, get a user namespace: that of the process
    `join_pid` if given (to act on a container of theirs), else a new one with the ids that
    /etc/subuid and /etc/subgid grant, or else with the one own id. Raises KernelError with a
    remedy.
    """
    if join_pid is not None:
        _join_process(join_pid)
    if os.geteuid() != 0 or not _try_private_mounts():
        _make_user_namespace()
        if not _try_private_mounts():
            raise KernelError("unshare", EPERM, fix=_remedy(EPERM))
    try:
        mounts.set_propagation("/", mounts.MS_SLAVE)
    except KernelError as error:
        raise KernelError("mount", error.errno, "/", fix=_remedy(error.errno)) from None
    uids, gids = idmap.own_map("uid"), idmap.own_map("gid")
    is_root = os.stat("/proc/self/ns/user").st_ino == _INITIAL_USER_NAMESPACE
    is_single = min(idmap.count(uids), idmap.count(gids)) == 1
    return Privileges(is_root, is_single, uids, gids, userxattr=not is_root)


def opened() -> tuple[int, int, int]:
    """Open what leads another process here, by `come`: user namespace, mount table, root.

    The descriptors are the caller's. KernelError.
    """
    paths = ("/proc/self/ns/user", "/proc/self/ns/mnt", "/")
    fds: list[int] = []
    try:
        fds.extend(os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths)
    except OSError as error:
        for fd in fds:
            os.close(fd)
        raise KernelError("open", error.errno or 0, str(error.filename)) from None
    user_fd, mounts_fd, root_fd = fds
    return user_fd, mounts_fd, root_fd


def come(user_fd: int, mounts_fd: int, root_fd: int) -> None:
    """Go where a process of the same user has entered; the caller must be single-threaded.

    The working directory is the root then. KernelError.
    """
    _join_user_namespace(user_fd)
    syscalls.setns(mounts_fd, syscalls.CLONE_NEWNS)
    try:
        os.fchdir(root_fd)
        os.chroot(".")  # the other's may be another than that of the mount table
    except OSError as error:
        raise KernelError("chroot", error.errno or 0, "/") from None


def _try_private_mounts() -> bool:
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    except KernelError as error:
        if error.errno == EPERM:
            return False
        raise
    return True


def _join_process(pid: int) -> None:
    """Enter the user namespace of a process."""
    path = f"/proc/{pid}/ns/user"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
    try:
        _join_user_namespace(fd)
    finally:
        os.close(fd)


def _join_user_namespace(fd: int) -> None:
    """Enter a user namespace, unless it is ours already."""
    if not os.path.samestat(os.fstat(fd), os.stat("/proc/self/ns/user")):
        syscalls.setns(fd, syscalls.CLONE_NEWUSER)


def _make_user_namespace() -> None:
    """Make a user namespace with as many ids as allowed.

    A helper stays behind in the old one: only from there may more than the own id be mapped.
    """
    uid, gid = os.geteuid(), os.getegid()
    is_root = uid == 0
    uids = _identity("uid") if is_root else _granted("/etc/subuid", uid, uid)
    gids = _identity("gid") if is_root else _granted("/etc/subgid", uid, gid)
    has_more = idmap.count(uids) > 1 and idmap.count(gids) > 1
    helper = _Helper(uids, gids, by_program=not is_root) if has_more else None
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except KernelError as error:
        if helper:
            helper.finish(is_wanted=False)
        raise KernelError("unshare", error.errno, fix=_remedy(error.errno)) from None
    if helper and helper.finish(is_wanted=True):
        return
    try:
        if not idmap.own_map("uid"):
            idmap.write("self", "uid", ((0, uid, 1),))
        idmap.deny_setgroups()
        idmap.write("self", "gid", ((0, gid, 1),))
    except OSError as error:
        raise KernelError("write", error.errno or 0, "/proc/self/uid_map") from None


def _identity(kind: str) -> tuple[Range, ...]:
    return idmap.identity(idmap.own_map(kind))


def _granted(path: str, uid: int, own_id: int) -> tuple[Range, ...]:
    return idmap.with_own(own_id, idmap.subordinate(path, uid))


class _Helper:
    """A child in the old user namespace that writes the maps of its parent's new one."""

    def __init__(
        self, uids: tuple[Range, ...], gids: tuple[Range, ...], *, by_program: bool
    ) -> None:
        self._target = os.getpid()
        self._maps = {"uid": uids, "gid": gids}
        self._by_program = by_program
        wait_fd, self._go_fd = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                os.close(self._go_fd)
                status = int(os.read(wait_fd, 1) != b"y" or not self._write_maps())
            finally:
                os._exit(status)
        os.close(wait_fd)

    def finish(self, *, is_wanted: bool) -> bool:
        """Let it write the maps, or leave; return whether both maps are written."""
        if is_wanted:
            os.write(self._go_fd, b"y")
        os.close(self._go_fd)
        _, status = os.waitpid(self._pid, 0)
        return is_wanted and status == 0

    def _write_maps(self) -> bool:
        for kind, ranges in self._maps.items():
            if self._by_program:
                numbers = [str(number) for entry in ranges for number in entry]
                if not _succeeds(f"new{kind}map", str(self._target), *numbers):
                    return False
            else:
                idmap.write(self._target, kind, ranges)
        return True


def _succeeds(program: str, *arguments: str) -> bool:
    """Run a program without output; False if it is missing or fails."""
    silence = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (1, 2)]
    try:
        pid = os.posix_spawnp(program, [program, *arguments], os.environ, file_actions=silence)
    except OSError:
        return False
    return os.waitpid(pid, 0)[1] == 0


def _remedy(errno: int) -> str:
    if errno == ENOSPC:
        return "raise the limit: sysctl user.max_user_namespaces=15000"
    if errno == EINVAL:
        return "use a kernel with user namespaces, or run as root"
    return (
        "allow user namespaces for this user (sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        " or kernel.unprivileged_userns_clone=1, in a container --privileged), or run as root"
    )
