"""The container's view of files: its root, the mounts the caller asked for, what is hidden of them.

Runs in the sandbox's own mount namespace while the old root is still there, so that sources are
names of the host and targets descriptors below the new root. `Root` is the order of events.
"""

import os
from errno import EINVAL
from stat import S_ISBLK, S_ISCHR, S_ISDIR

from builder.errors import KernelError, StartError
from builder.kernel import mounts, paths, syscalls
from builder.sandbox.filesystems import STAGE, Skeleton, StandardFileSystems
from builder.sandbox.spec import (
    Bind,
    Device,
    Directory,
    FileMount,
    Mount,
    Overlay,
    OverlayMount,
    SandboxSpec,
    Tmpfs,
)
from builder.sandbox.stubs import MountPoints

_ATTRIBUTES = {
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
}
_PROPAGATIONS = {"private": 0, "slave": mounts.MS_SLAVE, "shared": mounts.MS_SHARED}
_OPEN = os.O_PATH | os.O_CLOEXEC
_PROC_FILES = frozenset(
    f"/proc/{name}"
    for name in (
        "cpuinfo",
        "diskstats",
        "loadavg",
        "meminfo",
        "slabinfo",
        "stat",
        "swaps",
        "uptime",
    )
)
"""What a resource-aware replacement may cover, as LXCFS does; nothing else below /proc."""


class Root:
    """The new root while it is being put together; `enter` makes it the only one."""

    def __init__(
        self,
        spec: SandboxSpec,
        descriptors: tuple[int, ...],
        skeleton: Skeleton | None = None,
    ) -> None:
        """Mount the root itself, where its upper directory (or the directory) is."""
        self._spec = spec
        self._skeleton = skeleton if skeleton and skeleton.suits(spec) else None
        self._descriptors = descriptors
        self._stage_fd: int | None = None
        self._staged = 0
        if all(getattr(mount, "propagation", "private") == "private" for mount in spec.mounts):
            mounts.set_propagation("/", mounts.MS_PRIVATE)
        root = spec.root
        if isinstance(root, Overlay):
            self._path = root.upper or root.lowers[0]
        elif isinstance(root, Directory):
            self._path = root.path
        else:
            raise StartError("a running container's root is not mounted again")
        self._upper_fd = os.open(self._path, _OPEN | os.O_DIRECTORY)
        is_nodev = not (spec.has_device_cgroup or spec.is_privileged)
        self._mount_root(mounts.MS_NODEV if is_nodev else 0)
        self.fd = os.open(self._path, _OPEN | os.O_DIRECTORY)
        self.points = MountPoints(self.fd, self._upper_fd)

    def fill(self) -> StandardFileSystems:
        """Attach everything in order: standard file systems, devices, mounts, masks."""
        spec = self._spec
        standard = self._standard()
        standard.write_sysctls()
        for device in spec.devices:
            self._attach_device(device)
        for mount in spec.mounts:
            self._attach(mount)
        if self._skeleton is None:
            standard.protect()
        if self._stage_fd is not None:
            os.close(self._stage_fd)
            mounts.detach(STAGE)
        return standard

    def _standard(self) -> StandardFileSystems:
        if self._skeleton is not None:
            network = self._spec.network
            network_fd = self._descriptors[network] if isinstance(network, int) else -1
            return self._skeleton.moved_to(self._spec, self.fd, self.points, network_fd)
        standard = StandardFileSystems(self._spec, self.fd, self.points)
        standard.mount()
        return standard

    def make_cwd(self) -> None:
        """Make the working directory in the image, links followed inside it; raise StartError."""
        try:
            os.close(paths.make_dirs(self.fd, self._spec.cwd))
        except KernelError as error:
            raise StartError(f"the working directory cannot be made: {error.what}") from None

    def enter(self) -> None:
        """Make this the root and drop every mount of the old one."""
        if self._spec.is_root_read_only:
            mounts.remount(mounts.place(self.fd), mounts.MS_RDONLY)
        os.fchdir(self.fd)
        syscalls.pivot_root(".", ".")
        mounts.detach(".")
        os.chdir("/")

    def _mount_root(self, flags: int) -> None:
        root = self._spec.root
        if isinstance(root, Overlay):
            mounts.mount_overlay(
                self._path,
                root.lowers,
                root.upper,
                root.work,
                flags=flags,
                userxattr=root.userxattr,
                is_volatile=root.is_volatile,
            )
        else:
            mounts.bind(self._upper_fd, self._upper_fd, attributes=flags)

    def _attach(self, mount: Mount) -> None:
        if is_below_proc(mount.target):
            raise StartError(f"{mount.target} is inside /proc: nothing may be mounted there")
        try:
            match mount:
                case Bind():
                    self._attach_bind(mount)
                case OverlayMount():
                    self._attach_overlay(mount)
                case Tmpfs():
                    self._attach_tmpfs(mount)
                case FileMount():
                    self._attach_file(mount)
        except KernelError as error:
            raise StartError(f"mounting {mount.target}: {error.what}") from None

    def _attach_bind(self, bind: Bind) -> None:
        source_fd = self._open_source(bind.source)
        attributes = mounts.MS_RDONLY if bind.is_read_only else 0
        for option in bind.options:
            attributes |= _ATTRIBUTES[option]
        if self._spec.is_privileged:
            attributes &= ~mounts.MS_NODEV
        self._bind_part(
            source_fd,
            bind.sub_path,
            bind.target,
            attributes=attributes,
            is_recursive=bind.is_recursive,
            propagation=_PROPAGATIONS[bind.propagation],
        )

    def _attach_overlay(self, mount: OverlayMount) -> None:
        overlay = mount.overlay
        mounts.mount_overlay(
            STAGE,
            overlay.lowers,
            overlay.upper,
            overlay.work,
            flags=mounts.MS_NODEV,
            userxattr=overlay.userxattr,
            is_volatile=overlay.is_volatile,
        )
        try:
            source_fd = os.open(STAGE, _OPEN | os.O_DIRECTORY)
            attributes = mounts.MS_NODEV | (mounts.MS_RDONLY if mount.is_read_only else 0)
            self._bind_part(source_fd, mount.sub_path, mount.target, attributes=attributes)
        finally:
            mounts.detach(STAGE)

    def _attach_tmpfs(self, tmpfs: Tmpfs) -> None:
        flags = 0
        for option in tmpfs.options:
            flags |= _ATTRIBUTES[option]
        options = f"mode={tmpfs.mode_bits:o}"
        if tmpfs.size_bytes:
            options += f",size={tmpfs.size_bytes}"
        if (tmpfs.uid or tmpfs.gid) and not self._spec.fake_ownership:
            options += f",uid={tmpfs.uid},gid={tmpfs.gid}"
        target_fd = self.points.open(tmpfs.target, is_directory=True)
        syscalls.mount("tmpfs", mounts.place(target_fd), "tmpfs", flags, options)
        os.close(target_fd)

    def _attach_file(self, file: FileMount) -> None:
        stage_fd = self._stage()
        name = str(self._staged)
        self._staged += 1
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        fd = os.open(name, flags, file.mode_bits, dir_fd=stage_fd)
        rest = memoryview(file.content)
        while rest:
            rest = rest[os.write(fd, rest) :]
        if (file.uid or file.gid) and not self._spec.fake_ownership:
            os.fchown(fd, file.uid, file.gid)
        os.close(fd)
        source_fd = os.open(name, _OPEN, dir_fd=stage_fd)
        attributes = mounts.MS_RDONLY if file.is_read_only else 0
        self._bind_part(source_fd, "", file.target, attributes=attributes)

    def _attach_device(self, device: Device) -> None:
        source_fd = os.open(device.source, _OPEN)
        mode_bits = os.fstat(source_fd).st_mode
        if not (S_ISCHR(mode_bits) or S_ISBLK(mode_bits)):
            raise StartError(f"{device.source} is not a device")
        self._bind_part(source_fd, "", device.target or device.source)

    def _bind_part(
        self,
        source_fd: int,
        sub_path: str,
        target: str,
        *,
        attributes: int = 0,
        is_recursive: bool = True,
        propagation: int = 0,
    ) -> None:
        """Bind a source, or what lies below it, to a target; closes the source."""
        if sub_path.strip("/"):
            below_fd = paths.open_in_root(source_fd, sub_path)
            os.close(source_fd)
            source_fd = below_fd
        is_directory = S_ISDIR(os.fstat(source_fd).st_mode)
        target_fd = self.points.open(target, is_directory=is_directory)
        mounts.bind(
            source_fd,
            target_fd,
            attributes=attributes,
            is_recursive=is_recursive,
            propagation=propagation,
        )
        os.close(source_fd)
        os.close(target_fd)

    def _open_source(self, source: str | int) -> int:
        """Open a source in this mount namespace: the caller's descriptor belongs to another."""
        if isinstance(source, str):
            try:
                return os.open(source, _OPEN)
            except OSError as error:
                raise KernelError("open", error.errno or 0, source) from None
        given_fd = self._descriptors[source]
        path = os.readlink(mounts.place(given_fd))
        fd = os.open(path, _OPEN | os.O_NOFOLLOW)
        if not os.path.samestat(os.fstat(fd), os.fstat(given_fd)):
            raise KernelError("mount", EINVAL, path)
        return fd

    def _stage(self) -> int:
        """Open a private memory file system, which files are bound from."""
        if self._stage_fd is None:
            flags = mounts.MS_NOSUID | mounts.MS_NODEV
            syscalls.mount("tmpfs", STAGE, "tmpfs", flags, "mode=700")
            self._stage_fd = os.open(STAGE, _OPEN | os.O_DIRECTORY)
        return self._stage_fd


def is_below_proc(target: str) -> bool:
    """Whether a mount there would replace part of /proc that the kernel or we rely on."""
    parts = [part for part in target.split("/") if part not in {"", "."}]
    return parts[:1] == ["proc"] and "/" + "/".join(parts) not in _PROC_FILES
