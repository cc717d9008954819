"""The start of a plain sandbox as a program: what `init` does step by step, decided beforehand.

It holds for a root whose layers do not change: what one start found in it, and the mount points
that had to be made, the next will find and make again. `init` is the reference; a container can be
started either way and is the same (`tests/sandbox/test_plain.py` compares them).
"""

import os
from errno import ENOENT
from stat import S_ISDIR
from struct import pack

from builder.kernel import mounts, syscalls
from builder.kernel.mounts import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, place
from builder.kernel.paths import RESOLVE
from builder.sandbox import filesystems
from builder.sandbox.init import filter_of
from builder.sandbox.launch import clone_flags
from builder.sandbox.program import ANY, STATUS_FD, Place, Program
from builder.sandbox.spec import FileMount, Overlay, SandboxSpec, Stub

_SAFE = MS_NOSUID | MS_NODEV | MS_NOEXEC
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = _PATH | os.O_DIRECTORY
_AT_FDCWD = -100
_BOTH_EMPTY = 0x44  # MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
_SECCOMP_SET_MODE_FILTER = 1
_SIG_SETMASK, _SIGNALS_BYTES = 2, 8
_SIGKILL, _SIGSTOP, _LAST_SIGNAL, _SIGACTION_BYTES = 9, 19, 64, 32
_CAP_SYS_ADMIN = 21
_CAPABILITY_VERSION_3 = 0x20080522
_GROUP_OF_TERMINALS = 5


def program_of(spec: SandboxSpec, stubs: tuple[Stub, ...], path: str) -> bytes | None:
    """Write the program of a sandbox that was started before and is not unusual in any way.

    `stubs` are the mount points that its root lacks, `path` is where the command is. The sandbox
    executes nothing if anything is not as it was; None if this cannot be written as a program.
    """
    root = spec.root
    if not _is_plain(spec) or not isinstance(root, Overlay) or not root.upper:
        return None
    extra = ("volatile",) * root.is_volatile
    options = mounts.overlay_options(root.lowers, root.upper, root.work, extra=extra)
    if len(options) >= mounts.PAGE_BYTES or "\\" in options:
        return None
    made = {stub.path for stub in stubs}
    expected = {path.lstrip("/") for mount in spec.mounts for path in _prefixes(mount.target)}
    if not made <= {"proc", "dev", "sys", *expected}:
        return None
    try:
        return _Start(spec, made, options).program(path).encoded()
    except (OSError, ValueError):
        return None


def _is_plain(spec: SandboxSpec) -> bool:
    """Tell whether a sandbox differs from the default only in what is written down here."""
    usual = SandboxSpec(spec.root, spec.argv, network="host")
    return (
        spec.cwd.startswith("/")
        and os.path.normpath(spec.cwd) == spec.cwd
        and not spec.cwd.startswith("/proc")
        and all(isinstance(mount, FileMount) and not mount.uid for mount in spec.mounts)
        and spec
        == usual._replace(
            env=spec.env,
            cwd=spec.cwd,
            uid=spec.uid,
            gid=spec.gid,
            groups=spec.groups,
            mounts=spec.mounts,
            hostname=spec.hostname,
            domainname=spec.domainname,
            capabilities=spec.capabilities,
            seccomp=spec.seccomp,
            masked_paths=spec.masked_paths,
            read_only_paths=spec.read_only_paths,
            is_root_read_only=spec.is_root_read_only,
            no_new_privileges=spec.no_new_privileges,
            shm_size_bytes=spec.shm_size_bytes,
            umask=spec.umask,
        )
    )


def _prefixes(target: str) -> list[str]:
    """Give an absolute path and the directories that lead to it, outermost first."""
    parts = target.strip("/").split("/")
    return [f"/{'/'.join(parts[:end])}" for end in range(1, len(parts) + 1)]


class _Start:
    """A start being written down, in the order of `init`, `rootfs` and `filesystems`."""

    def __init__(self, spec: SandboxSpec, made: set[str], options: str) -> None:
        self._spec = spec
        self._made = made
        self._options = options
        self._out = Program(clone_flags(spec) | syscalls.CLONE_PARENT)
        self._root = self._dev = self._null = -1

    def program(self, path: str) -> Program:
        """Write everything down."""
        out = self._out
        out.call("umask", 0, expected=ANY)
        out.call("setsid", expected=ANY)
        default = out.put(bytes(_SIGACTION_BYTES))
        for number in {*range(1, _LAST_SIGNAL + 1)} - {_SIGKILL, _SIGSTOP}:
            out.call("rt_sigaction", number, default, 0, _SIGNALS_BYTES)
        self._begin()
        self._mount_proc_and_dev()
        self._mount_sys()
        self._fill()
        self._enter()
        self._become()
        out.call("faccessat", _AT_FDCWD, path, os.X_OK)
        out.call("rt_sigprocmask", _SIG_SETMASK, bytes(_SIGNALS_BYTES), 0, _SIGNALS_BYTES)
        self._filter()
        return out

    def _begin(self) -> None:
        """Name the host, and mount the root."""
        spec, out, root = self._spec, self._out, self._spec.root
        assert isinstance(root, Overlay)  # noqa: S101 - narrows the type
        out.call("unshare", syscalls.CLONE_NEWCGROUP)
        if spec.hostname and spec.uts != "host":
            out.call("sethostname", spec.hostname, len(os.fsencode(spec.hostname)))
        if spec.domainname and spec.uts != "host":
            out.call("setdomainname", spec.domainname, len(os.fsencode(spec.domainname)))
        out.call("mount", 0, "/", 0, mounts.MS_PRIVATE | mounts.MS_REC, 0)
        out.call("mount", "overlay", root.upper, "overlay", MS_NODEV, self._options)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self._root = out.open("openat", _AT_FDCWD, root.upper, flags)

    def _mount_proc_and_dev(self) -> None:
        out = self._out
        out.close(self._mounted("proc", "proc", _SAFE, ""))
        self._dev = dev = self._mounted("dev", "tmpfs", _SAFE, "mode=755,size=65536k")
        for name, target in filesystems.LINKS.items():
            out.call("symlinkat", target, dev, name)
        for name in ("pts", "shm", "mqueue"):
            out.call("mkdirat", dev, name, 0o755)
        for name in filesystems.NODES:
            source = out.open("openat", _AT_FDCWD, f"/dev/{name}", _PATH)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            out.close(out.open("openat", dev, name, flags, 0o666))
            target_fd = out.open("openat", dev, name, _PATH)
            self._bind(source, target_fd, is_recursive=False)
            out.close(target_fd)
            out.close(source)
        self._null = out.open("openat", dev, "null", _PATH)
        options = f"newinstance,ptmxmode=0666,mode=0620,gid={_GROUP_OF_TERMINALS}"
        shm = f"mode=1777,size={self._spec.shm_size_bytes}"
        self._mount_in_dev("pts", "devpts", MS_NOSUID | MS_NOEXEC, options)
        self._mount_in_dev("shm", "tmpfs", _SAFE, shm)
        self._mount_in_dev("mqueue", "mqueue", _SAFE, "")

    def _mount_in_dev(self, name: str, fstype: str, flags: int, options: str) -> None:
        place_fd = self._out.open("openat", self._dev, name, _DIRECTORY)
        self._out.mount(fstype, place_fd, fstype, flags, options)
        self._out.close(place_fd)

    def _mount_sys(self) -> None:
        out, flags = self._out, _SAFE | MS_RDONLY
        sys_fd = self._mounted("sys", "sysfs", flags, "")
        place_fd = out.open("openat", sys_fd, "fs/cgroup", _DIRECTORY)
        if filesystems.has_unified_cgroups():
            out.mount("cgroup2", place_fd, "cgroup2", flags, "")
        else:
            out.mount("tmpfs", place_fd, "tmpfs", _SAFE, "mode=755")
            tmpfs_fd = out.open("openat", sys_fd, "fs/cgroup", _DIRECTORY)
            self._remount(tmpfs_fd, flags)
            out.close(tmpfs_fd)
        out.close(place_fd)
        out.close(sys_fd)

    def _mounted(self, name: str, fstype: str, flags: int, options: str) -> int:
        """Mount on a directory right below the root; a descriptor of what is there then."""
        out = self._out
        if name in self._made:
            out.call("mkdirat", self._root, name, 0o755)
        place_fd = out.open("openat", self._root, name, _DIRECTORY)
        out.mount(fstype, place_fd, fstype, flags, options)
        mounted = out.open("openat", self._root, name, _DIRECTORY)
        out.close(place_fd)
        return mounted

    def _fill(self) -> None:
        """Show our files, hide the kernel's, protect others."""
        spec, out = self._spec, self._out
        flags = MS_NOSUID | MS_NODEV
        out.call("mount", "tmpfs", filesystems.STAGE, "tmpfs", flags, "mode=700")
        stage = out.open("openat", _AT_FDCWD, filesystems.STAGE, os.O_PATH | os.O_CLOEXEC)
        for number, mount in enumerate(spec.mounts):
            assert isinstance(mount, FileMount)  # noqa: S101 - narrows the type
            self._show(mount, stage, str(number))
        out.close(stage)
        out.call("umount2", filesystems.STAGE, mounts.MNT_DETACH)
        for path in (*spec.masked_paths, *spec.read_only_paths):
            self._cover(path, is_masked=path in spec.masked_paths)

    def _show(self, file: FileMount, stage: int, name: str) -> None:
        out, flags = self._out, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        fd = out.open("openat", stage, name, flags, file.mode_bits)
        if file.content:
            out.call("write", fd, file.content, len(file.content), expected=len(file.content))
        out.close(fd)
        source = out.open("openat", stage, name, os.O_PATH | os.O_CLOEXEC)
        for missing in self._missing(file.target):
            folder, _, last = missing.rpartition("/")
            parent = self._open_in_root(folder or "/", os.O_PATH | os.O_DIRECTORY)
            if missing == file.target:
                out.close(out.open("openat", parent, last, flags, 0o644))
            else:
                out.call("mkdirat", parent, last, 0o755)
            out.close(parent)
        target = self._open_in_root(file.target, os.O_PATH)
        self._bind(source, target, attributes=MS_RDONLY if file.is_read_only else 0)
        out.close(target)
        out.close(source)

    def _missing(self, target: str) -> list[str]:
        """Give what must be made of a target's directories and itself; each is made once."""
        missing = [path for path in _prefixes(target) if path.lstrip("/") in self._made]
        self._made -= {path.lstrip("/") for path in missing}
        return missing

    def _cover(self, path: str, *, is_masked: bool) -> None:
        """Hide or protect a file of /proc or /sys, or see that it is not there."""
        out, how = self._out, _how(os.O_PATH)
        try:
            is_directory = S_ISDIR(os.stat(path).st_mode)
        except FileNotFoundError:
            out.refused("openat2", self._root, path, how, len(how), errno=ENOENT)
            return
        fd = out.open("openat2", self._root, path, how, len(how))
        if not is_masked:
            self._bind(fd, fd, attributes=MS_RDONLY)
        elif is_directory:
            out.mount("tmpfs", fd, "tmpfs", MS_RDONLY | _SAFE, "nr_inodes=1,mode=755")
        else:
            self._bind(self._null, fd)
        out.close(fd)

    def _open_in_root(self, path: str, flags: int) -> int:
        how = _how(flags)
        return self._out.open("openat2", self._root, path, how, len(how))

    def _bind(
        self, source: int, target: int, *, attributes: int = 0, is_recursive: bool = True
    ) -> None:
        out, recursion = self._out, syscalls.AT_RECURSIVE if is_recursive else 0
        flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH | recursion | os.O_CLOEXEC
        tree = out.open("open_tree", source, "", flags)
        if attributes:
            wanted = pack("4Q", attributes, 0, 0, 0)
            flags = syscalls.AT_EMPTY_PATH | recursion
            out.call("mount_setattr", tree, "", flags, wanted, len(wanted))
        out.call("move_mount", tree, "", target, "", _BOTH_EMPTY)
        out.close(tree)

    def _remount(self, fd: int, flags: int) -> None:
        self._out.call("mount", 0, place(fd), 0, mounts.MS_REMOUNT | mounts.MS_BIND | flags, 0)

    def _enter(self) -> None:
        """Make it the root, close what is open, and go to the working directory."""
        spec, out = self._spec, self._out
        out.close(self._open_in_root(spec.cwd, os.O_RDONLY | os.O_DIRECTORY))
        if spec.is_root_read_only:
            self._remount(self._root, MS_NODEV | MS_RDONLY)
        out.call("fchdir", self._root)
        out.call("pivot_root", ".", ".")
        out.call("umount2", ".", mounts.MNT_DETACH)
        out.call("chdir", "/")
        for number in (1, 2) if spec.uid else ():
            out.call("fchown", number, spec.uid, -1)
        out.call("close_range", STATUS_FD + 1, 0x7FFF_FFFF, 0)
        out.call("umask", spec.umask, expected=ANY)
        out.call("chdir", spec.cwd)
        size = len(os.fsencode(spec.cwd)) + 1  # "(unreachable)" or a link would make it another
        out.call("getcwd", bytes(size + 1), size + 1, expected=size)

    def _become(self) -> None:
        """Take on the identity: `credentials.become`."""
        spec, out = self._spec, self._out
        for capability in range(_last_capability() + 1):
            if not spec.capabilities >> capability & 1:
                out.call("prctl", syscalls.PR_CAPBSET_DROP, capability)
        if spec.uid:
            out.call("prctl", syscalls.PR_SET_KEEPCAPS, 1)
        groups = pack(f"{len(spec.groups)}I", *spec.groups)
        out.call("setgroups", len(spec.groups), groups or 0)
        out.call("setresgid", spec.gid, spec.gid, spec.gid)
        out.call("setresuid", spec.uid, spec.uid, spec.uid)
        kept = spec.capabilities if spec.uid == 0 else 0
        if spec.seccomp is not None and not spec.no_new_privileges:
            kept |= 1 << _CAP_SYS_ADMIN
        low, high = kept & 0xFFFF_FFFF, kept >> 32
        sets = pack("6I", low, low, 0, high, high, 0)
        out.call("capset", pack("Ii", _CAPABILITY_VERSION_3, 0), sets)
        out.call("prctl", syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
        out.call("prctl", syscalls.PR_SET_PDEATHSIG, _SIGKILL)
        # The pipe has no reader any more if the launcher died before the death signal was set.
        out.call("ppoll", pack("ihh", STATUS_FD, 0, 0), 1, bytes(16), 0, _SIGNALS_BYTES)
        if spec.no_new_privileges:
            out.call("prctl", syscalls.PR_SET_NO_NEW_PRIVS, 1)

    def _filter(self) -> None:
        out, content = self._out, filter_of(self._spec)
        if content is None:
            return
        description = pack("@HP", len(content) // 8, 0)
        at = out.put(description)
        out.put_address(out.put(content), into=Place(at + 8))
        out.call("seccomp", _SECCOMP_SET_MODE_FILTER, 0, at)


def _how(flags: int) -> bytes:
    return pack("3Q", flags | os.O_CLOEXEC, 0, RESOLVE)


def _last_capability() -> int:
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as file:
        return int(file.read())
