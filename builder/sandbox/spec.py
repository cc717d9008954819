"""What a sandbox is made of: values only, printable, sent to the zygote as they are.

Paths named `target`, `cwd`, `masked_paths` and the like are inside the container and hostile; they
are resolved there by file descriptor. Paths of `Overlay`, `Directory` and `Bind.source` are ours
and trusted. Strings may hold surrogate escapes: they are bytes of the image.
"""

from typing import Literal, TypeAlias

from builder.kernel import capabilities
from builder.values import NamedTuple

DEFAULT_CAPABILITIES = capabilities.DEFAULT

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

SHM_SIZE_BYTES = 64 << 20

Namespace: TypeAlias = Literal["private", "host"] | int
"""A new one, the engine's own, or the one behind the passed descriptor with this index."""


class Overlay(NamedTuple):
    """A root of layers, mounted by the sandbox in its own mount namespace.

    No lowers at all: `upper` itself is the root. No upper: a read-only view.
    """

    lowers: tuple[str, ...]
    """Absolute paths, top layer first; several hundred are fine."""
    upper: str = ""
    work: str = ""
    is_volatile: bool = False
    """No fsync reaches the disk; `work/incompat/volatile` stays behind and is the caller's."""
    userxattr: bool = False
    """As `Privileges.userxattr`."""


class Directory(NamedTuple):
    """A root that is a plain directory of ours."""

    path: str


class Running(NamedTuple):
    """Not a new container: a further process in the one whose main process is `pid`."""

    pid: int
    """In the launcher's PID namespace; the caller makes sure that it cannot have been reused."""


class Bind(NamedTuple):
    """A directory or file of the host shown at `target`.

    Propagation is always private unless said otherwise. Devices on it cannot be opened.
    """

    target: str
    source: str | int
    """A trusted absolute path, or the index of a passed descriptor (O_PATH will do) of something
    that still has the path at which it was opened."""
    sub_path: str = ""
    """An untrusted path below a directory source; links in it are resolved inside the source."""
    is_read_only: bool = False
    is_recursive: bool = True
    options: tuple[str, ...] = ("nodev",)
    """Of nosuid, nodev, noexec."""
    propagation: Literal["private", "slave", "shared"] = "private"


class OverlayMount(NamedTuple):
    """Part of a stack of layers shown at `target`; writes go to its own upper directory."""

    target: str
    overlay: Overlay
    sub_path: str = ""
    """Untrusted; resolved inside the stack."""
    is_read_only: bool = False


class Tmpfs(NamedTuple):
    """An empty memory file system."""

    target: str
    size_bytes: int = 0
    """0: no limit of its own."""
    mode_bits: int = 0o1777
    options: tuple[str, ...] = ("nosuid", "nodev", "noexec")
    """Of nosuid, nodev, noexec, ro."""
    uid: int = 0
    gid: int = 0


class FileMount(NamedTuple):
    """A file with this content on a memory file system of its own: it is never on a disk."""

    target: str
    content: bytes
    mode_bits: int = 0o400
    uid: int = 0
    gid: int = 0
    is_read_only: bool = True


Mount: TypeAlias = Bind | OverlayMount | Tmpfs | FileMount


class Device(NamedTuple):
    """A device node of the host, usable at `target`."""

    source: str
    """On the host; must be a character or block device."""
    target: str = ""
    """Default: the same path."""


class Rlimit(NamedTuple):
    """A resource limit by its kernel number (see `kernel.rlimits`); -1 is unlimited."""

    resource: int
    soft: int
    hard: int


class SandboxSpec(NamedTuple):
    """Everything that decides what a container's first process sees and may do.

    The standard file systems (/proc, /dev, /dev/pts, /dev/shm, /dev/mqueue, /sys, cgroup) are
    always there; `mounts` come after them, in order. For a `Running` root only argv, env, cwd,
    identity, capabilities, seccomp, no_new_privileges, rlimits, cgroups, oom_score_adj, umask,
    is_tty and console_size count.
    """

    root: Overlay | Directory | Running
    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    """`NAME=value` each."""
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    mounts: tuple[Mount, ...] = ()
    hostname: str = ""
    domainname: str = ""
    network: Literal["none", "host"] | int = "none"
    """Loopback only, the engine's, or the passed network namespace descriptor with this index."""
    pid: Namespace = "private"
    ipc: Namespace = "private"
    uts: Namespace = "private"
    cgroup: Namespace = "private"
    capabilities: int = DEFAULT_CAPABILITIES
    """The bounding set, which for root is also permitted and effective; others have none."""
    seccomp: bytes | Literal["default"] | None = None
    """The default filter for these capabilities, one compiled by `kernel.seccomp`, or none."""
    masked_paths: tuple[str, ...] = MASKED_PATHS
    read_only_paths: tuple[str, ...] = READ_ONLY_PATHS
    devices: tuple[Device, ...] = ()
    has_device_cgroup: bool = False
    """One of `cgroups` restricts devices; else no node but the standard ones can be opened."""
    rlimits: tuple[Rlimit, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    """Dotted or slashed name and value; only namespaced ones, checked by the caller."""
    is_root_read_only: bool = False
    no_new_privileges: bool = False
    cgroups: tuple[str | int, ...] = ()
    """Files `cgroup.procs` to join by, or indexes of descriptors open for writing on such."""
    is_tty: bool = False
    console_size: tuple[int, int] = (0, 0)
    """Rows and columns."""
    with_init: bool = False
    """A reaper is PID 1 and the command its child."""
    is_cwd_created: bool = True
    umask: int = 0o022
    oom_score_adj: int | None = None
    is_privileged: bool = False
    """All devices of the host; /sys and the cgroup file system writable. Masks, capabilities and
    seccomp are their own fields."""
    shm_size_bytes: int = SHM_SIZE_BYTES
    is_shm_strict: bool = True
    """Whether /dev/shm is nodev and noexec, as in a container; a build step's is not."""
    fake_ownership: bool = False
    """Single-id mode: stay id 0 whatever `uid` says (the filter makes chown and setuid succeed)."""


class Stub(NamedTuple):
    """A mount point that had to be made in the root, as `stubs.remove_stubs` needs it."""

    path: str
    """Relative to the root, every component real (no link)."""
    device: int
    """Of the upper directory's file system, as is the inode."""
    inode: int
    is_directory: bool
    parent_before_ns: int
    """Modification time of the parent directory before the stub was made, and just after."""
    parent_after_ns: int
