"""The file systems every container has: /proc, /dev and what is in it, /sys, the control groups.

/proc, /sys and /dev of the image must be real directories or absent; a link there is refused. After
mounting, /proc is looked at again: only the root of a genuine procfs is ever written to.
"""

import os
from errno import EINVAL, ELOOP, ENOENT, ENOTDIR, EPERM
from stat import S_ISBLK, S_ISCHR, S_ISDIR

from builder.errors import KernelError, StartError
from builder.kernel import mounts, paths, syscalls
from builder.sandbox import console
from builder.sandbox.spec import Bind, SandboxSpec
from builder.sandbox.stubs import MountPoints

PROC_SUPER_MAGIC = 0x9FA0
CGROUP2_SUPER_MAGIC = 0x63677270
_PROC_ROOT_INODE = 1
_CGROUPS = "/sys/fs/cgroup"
_FAILURE = "the standard file systems could not be mounted"
_SAFE = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_OPEN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
NODES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "core": "/proc/kcore",
    "ptmx": "pts/ptmx",
}
_OWN_IN_DEV = frozenset({*NODES, *LINKS, "pts", "shm", "mqueue", "console"})


STAGE = "/proc/fs"
"""A directory of the old root that is always there and that no source is below. What is to be shown
in parts is mounted here for a moment, in this mount namespace only: it must not be on the new root,
since `..` leads onto whatever covers that."""


class StandardFileSystems:
    """Mounts them below a root; keeps descriptors of /proc and /dev for later steps."""

    def __init__(self, spec: SandboxSpec, root_fd: int, points: MountPoints) -> None:
        """Borrow the root's descriptor."""
        self._spec = spec
        self.root_fd = root_fd
        self._points = points
        self.proc_fd = -1
        self.dev_fd = -1
        self.null_fd = -1

    def mount(self, *, has_sys: bool = True) -> None:
        """Mount all of them, or all but /sys; raise StartError."""
        try:
            self._mount_proc()
            self._mount_dev()
            if has_sys:
                self.mount_sys()
        except KernelError as error:
            raise StartError(
                f"{_FAILURE}: {error.what}",
                fix=_remedy(error),
            ) from None

    def rebase(self, spec: SandboxSpec, root_fd: int, points: MountPoints) -> None:
        """Belong to another root from now on; borrows its descriptor."""
        self._spec, self.root_fd, self._points = spec, root_fd, points

    def protect(self, *, below: str = "/") -> None:
        """Hide the masked paths, and make the read-only ones so."""
        for path in self._spec.masked_paths:
            if path.startswith(below):
                self._mask(path)
        for path in self._spec.read_only_paths:
            if path.startswith(below):
                self._write_protect(path)

    def _mask(self, path: str) -> None:
        """Cover a directory by an empty one and a file by the null device, if they are there."""
        try:
            fd = paths.open_in_root(self.root_fd, path)
        except KernelError as error:
            if error.errno in {ENOENT, EPERM}:
                return
            raise
        if S_ISDIR(os.fstat(fd).st_mode):
            flags = mounts.MS_RDONLY | _SAFE
            syscalls.mount("tmpfs", mounts.place(fd), "tmpfs", flags, "nr_inodes=1,mode=755")
        else:
            mounts.bind(self.null_fd, fd)
        os.close(fd)

    def _write_protect(self, path: str) -> None:
        try:
            fd = paths.open_in_root(self.root_fd, path)
        except KernelError as error:
            if error.errno == ENOENT:
                return
            raise
        mounts.bind(fd, fd, attributes=mounts.MS_RDONLY)
        os.close(fd)

    def write_sysctls(self) -> None:
        """Set kernel parameters of the new namespaces through the checked /proc.

        Raises StartError.
        """
        if not self._spec.sysctls:
            return
        sys_fd = os.open("sys", _OPEN | os.O_DIRECTORY, dir_fd=self.proc_fd)
        for name, value in self._spec.sysctls:
            path = name if "/" in name else name.replace(".", "/")
            try:
                fd = paths.open_in_root(sys_fd, path, os.O_WRONLY)
                os.write(fd, value.encode())
                os.close(fd)
            except (OSError, KernelError) as error:
                reason = os.strerror(error.errno or 0)
                raise StartError(f"sysctl {name}={value}: {reason}") from None
        os.close(sys_fd)

    def open_console(self) -> tuple[int, int]:
        """Make a terminal in the container's own devpts; return master and slave.

        The slave is also bound to /dev/console.
        """
        master_fd, slave_fd, name = console.open_terminal(self.dev_fd)
        self._bind_in_dev(f"{mounts.place(self.dev_fd)}/pts/{name}", "console")
        return master_fd, slave_fd

    def _mount_at(
        self, name: str, fstype: str, flags: int, options: str, *, within: int | None = None
    ) -> int:
        """Mount on a real directory; return a descriptor of what is there now."""
        if within is None:
            place_fd = self._points.open_real(name)
        else:
            place_fd = os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=within)
        syscalls.mount(fstype, mounts.place(place_fd), fstype, flags, options)
        os.close(place_fd)
        return os.open(name, _OPEN | os.O_DIRECTORY, dir_fd=within or self.root_fd)

    def _mount_proc(self) -> None:
        self.proc_fd = self._mount_at("proc", "proc", _SAFE, "")
        _require_proc(self.proc_fd)

    def _mount_dev(self) -> None:
        spec = self._spec
        has_nodes = spec.has_device_cgroup or spec.is_privileged
        flags = mounts.MS_NOSUID | mounts.MS_NOEXEC | (0 if has_nodes else mounts.MS_NODEV)
        self.dev_fd = self._mount_at("dev", "tmpfs", flags, "mode=755,size=65536k")
        for name, target in LINKS.items():
            os.symlink(target, name, dir_fd=self.dev_fd)
        for name in ("pts", "shm", "mqueue"):
            os.mkdir(name, 0o755, dir_fd=self.dev_fd)
        for name, (major, minor) in NODES.items():
            self._make_node(name, major, minor, by_mknod=has_nodes)
        self.null_fd = os.open("null", _OPEN, dir_fd=self.dev_fd)
        if spec.is_privileged:
            self._add_host_devices()
        self._mount_pts()
        self._mount_shm()
        os.close(self._mount_at("mqueue", "mqueue", _SAFE, "", within=self.dev_fd))

    def _make_node(self, name: str, major: int, minor: int, *, by_mknod: bool) -> None:
        """Make a node, or bind the host's if that is not allowed or would not open (nodev)."""
        if by_mknod:
            try:
                os.mknod(name, 0o666 | 0o020000, os.makedev(major, minor), dir_fd=self.dev_fd)
            except PermissionError:
                pass  # in a user namespace
            else:
                return
        source = f"/dev/{name}"
        status = os.stat(source, follow_symlinks=False)
        if not S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(major, minor):
            raise StartError(f"the host's {source} is not the device {major}:{minor}")
        self._bind_in_dev(source, name)

    def _bind_in_dev(self, source: str, name: str) -> None:
        """Show a file at a new name of our own /dev, which nobody else has seen yet."""
        os.mknod(name, 0o666, dir_fd=self.dev_fd)
        syscalls.mount(source, f"{mounts.place(self.dev_fd)}/{name}", "", mounts.MS_BIND)

    def _add_host_devices(self) -> None:
        for entry in os.scandir("/dev"):
            mode_bits = entry.stat(follow_symlinks=False).st_mode
            if entry.name not in _OWN_IN_DEV and (S_ISCHR(mode_bits) or S_ISBLK(mode_bits)):
                self._bind_in_dev(entry.path, entry.name)

    def _mount_pts(self) -> None:
        flags = mounts.MS_NOSUID | mounts.MS_NOEXEC
        options = "newinstance,ptmxmode=0666,mode=0620"
        try:
            pts_fd = self._mount_at("pts", "devpts", flags, options + ",gid=5", within=self.dev_fd)
        except KernelError as error:
            if error.errno != EINVAL:  # group 5 is not mapped
                raise
            pts_fd = self._mount_at("pts", "devpts", flags, options, within=self.dev_fd)
        os.close(pts_fd)

    def _mount_shm(self) -> None:
        if self._spec.ipc == "host":
            target_fd = os.open("shm", _OPEN, dir_fd=self.dev_fd)
            source_fd = os.open("/dev/shm", _OPEN)  # noqa: S108 - the host's, as asked
            mounts.bind(source_fd, target_fd)
            os.close(source_fd)
            os.close(target_fd)
            return
        options = f"mode=1777,size={self._spec.shm_size_bytes}"
        flags = _SAFE if self._spec.is_shm_strict else mounts.MS_NOSUID
        os.close(self._mount_at("shm", "tmpfs", flags, options, within=self.dev_fd))

    def mount_sys(self) -> None:
        """Mount /sys as the network namespace shows it, and the control groups."""
        protection = 0 if self._spec.is_privileged else mounts.MS_RDONLY
        try:
            sys_fd = self._mount_at("sys", "sysfs", _SAFE | protection, "")
        except KernelError as error:
            if error.errno != EPERM:  # the network namespace is not ours: show the host's
                raise
            place_fd, source_fd = self._points.open_real("sys"), os.open("/sys", _OPEN)
            mounts.bind(source_fd, place_fd, attributes=_SAFE | protection)
            return
        try:
            cgroup_fd = os.open("fs/cgroup", _OPEN | os.O_DIRECTORY, dir_fd=sys_fd)
        except FileNotFoundError:
            return  # a kernel without control groups
        finally:
            os.close(sys_fd)
        self._mount_cgroups(cgroup_fd, _SAFE | protection)
        os.close(cgroup_fd)

    def _mount_cgroups(self, place_fd: int, flags: int) -> None:
        """Show the container's own groups: the one tree, or a directory for each controller."""
        if has_unified_cgroups():
            syscalls.mount("cgroup2", mounts.place(place_fd), "cgroup2", flags)
            return
        syscalls.mount("tmpfs", mounts.place(place_fd), "tmpfs", _SAFE, "mode=755")
        tmpfs_fd = os.open(os.readlink(mounts.place(place_fd)), _OPEN)
        for file in self._spec.cgroups:
            if isinstance(file, str) and file.startswith(f"{_CGROUPS}/"):
                _bind_controller(tmpfs_fd, os.path.dirname(file), flags)
        mounts.remount(mounts.place(tmpfs_fd), flags)
        os.close(tmpfs_fd)


class Skeleton:
    """The standard file systems of a usual container, mounted ahead of its request.

    They wait on a place of their own, and are moved to the root when that is known. /sys shows the
    network that it is mounted in, so it is among them where the container's is foreknown.
    """

    def __init__(self, spec: SandboxSpec, network_fd: int) -> None:
        """Mount them in the container's other namespaces; enter the network, unless that is -1."""
        self._wanted = _standard_fields(spec)
        self._network: os.stat_result | None = None
        if network_fd >= 0:
            syscalls.setns(network_fd, syscalls.CLONE_NEWNET)
            self._network = os.fstat(network_fd)
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)
        syscalls.mount("tmpfs", STAGE, "tmpfs", 0, "mode=755")
        root_fd = os.open(STAGE, _OPEN | os.O_DIRECTORY)
        self._standard = StandardFileSystems(spec, root_fd, MountPoints(root_fd, root_fd))
        self._standard.mount(has_sys=self._network is not None)
        self._standard.protect()

    def suits(self, spec: SandboxSpec) -> bool:
        """Whether a container wants just these."""
        return _standard_fields(spec) == self._wanted

    def moved_to(
        self, spec: SandboxSpec, root_fd: int, points: MountPoints, network_fd: int
    ) -> StandardFileSystems:
        """Move them to a root; /sys is made anew if the network is not the one it was made in.

        `network_fd` is the container's, entered already; -1 if it is not by a descriptor. Raises
        StartError.
        """
        has_new_network = not self._is_of(network_fd)
        for name in ("proc", "dev") if has_new_network else ("proc", "dev", "sys"):
            try:
                target_fd = points.open_real(name)
            except KernelError as error:
                raise StartError(f"{_FAILURE}: {error.what}", fix=_remedy(error)) from None
            syscalls.mount(f"{STAGE}/{name}", mounts.place(target_fd), "", mounts.MS_MOVE)
            os.close(target_fd)
        mounts.detach(STAGE)
        proc_fd = os.open("proc", _OPEN | os.O_DIRECTORY, dir_fd=root_fd)
        _require_proc(proc_fd)
        os.close(proc_fd)
        self._standard.rebase(spec, root_fd, points)
        if has_new_network:
            self._standard.mount_sys()
            self._standard.protect(below="/sys/")
        return self._standard

    def _is_of(self, network_fd: int) -> bool:
        return (
            network_fd >= 0
            and self._network is not None
            and os.path.samestat(os.fstat(network_fd), self._network)
        )


def _standard_fields(spec: SandboxSpec) -> tuple[object, ...]:
    """Give all that the standard file systems depend on."""
    return (
        spec.is_privileged,
        spec.has_device_cgroup,
        spec.pid,
        spec.ipc,
        spec.cgroup,
        spec.cgroups,
        spec.shm_size_bytes,
        spec.is_shm_strict,
        spec.masked_paths,
        spec.read_only_paths,
        any(isinstance(mount, Bind) and mount.propagation != "private" for mount in spec.mounts),
    )


def has_unified_cgroups() -> bool:
    """Whether the host has the one tree of version 2."""
    host_fd = os.open(_CGROUPS, _OPEN)
    try:
        return syscalls.filesystem_type(host_fd) == CGROUP2_SUPER_MAGIC
    finally:
        os.close(host_fd)


def _require_proc(fd: int) -> None:
    """Make sure that a descriptor is the root of a genuine procfs."""
    is_proc = syscalls.filesystem_type(fd) == PROC_SUPER_MAGIC
    if not is_proc or os.fstat(fd).st_ino != _PROC_ROOT_INODE:
        raise KernelError("mount", EINVAL, "/proc")


def _bind_controller(tmpfs_fd: int, group: str, flags: int) -> None:
    """Show a group of one version 1 hierarchy under the hierarchy's name and its controllers'."""
    hierarchy = group[len(_CGROUPS) + 1 :].partition("/")[0]
    os.mkdir(hierarchy, 0o755, dir_fd=tmpfs_fd)
    source_fd = os.open(group, _OPEN)
    target_fd = os.open(hierarchy, _OPEN, dir_fd=tmpfs_fd)
    mounts.bind(source_fd, target_fd, attributes=flags)
    os.close(source_fd)
    os.close(target_fd)
    if "," in hierarchy:
        for controller in hierarchy.split(","):
            os.symlink(hierarchy, controller, dir_fd=tmpfs_fd)


def _remedy(error: KernelError) -> str | None:
    """Say what to do about a root file system or a kernel that is in the way."""
    if error.errno in {ENOTDIR, ELOOP}:
        return "the image has a link where a directory must be: use another base image"
    if error.errno == EPERM and error.syscall == "mount":
        return (
            "/proc or /sys of this environment is partly hidden: start the outer container with "
            "unmasked system paths (--security-opt systempaths=unconfined or --privileged)"
        )
    return None
