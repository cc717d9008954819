"""Which system calls a container may make: the default, in the spirit of Docker's, or a profile.

The default allows what programs use and refuses what only an administrator of the host needs, what
has a history of holes, and what would undo the sandbox. A capability opens the calls that are of no
use without it.
"""

import os
from functools import lru_cache

from builder.errors import KernelError
from builder.kernel import bpf
from builder.kernel.bpf import ABSENT, ALLOW, DENY, ERRNO, Condition, Rule
from builder.kernel.capabilities import NUMBERS

_ENOSYS = 38
_LOW_WORD = 0xFFFF_FFFF
_NAMESPACE_FLAGS = 0x7E02_0000
_AF_ALG, _AF_VSOCK = 38, 40
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFF_FFFF)
_S_IFMT, _S_IFCHR, _S_IFBLK = 0o170000, 0o020000, 0o060000

_NEVER = (
    "_sysctl add_key afs_syscall bdflush create_module get_kernel_syms getpmsg idle "
    "io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl "
    "lsm_set_self_attr migrate_pages move_pages nfsservctl pciconfig_iobase pciconfig_read "
    "pciconfig_write pivot_root putpmsg query_module request_key security swapoff swapon sysfs "
    "tuxcall uselib userfaultfd ustat vm86 vm86old vserver"
)
_BY_CAPABILITY = {
    "SYS_ADMIN": (
        "bpf clone3 fanotify_init fsconfig fsmount fsopen fspick listmount lookup_dcookie mount "
        "mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd "
        "setdomainname sethostname setns statmount syslog umount umount2 unshare"
    ),
    "DAC_READ_SEARCH": "open_by_handle_at",
    "SYS_BOOT": "reboot",
    "SYS_CHROOT": "chroot",
    "SYS_MODULE": "delete_module finit_module init_module",
    "SYS_PACCT": "acct",
    "SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "SYS_RAWIO": "ioperm iopl",
    "SYS_TIME": "clock_settime clock_settime64 settimeofday stime",
    "SYS_TTY_CONFIG": "vhangup",
    "SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "SYSLOG": "syslog",
    "BPF": "bpf",
    "PERFMON": "perf_event_open",
}
_HIDDEN = frozenset({"clone3", "listmount", "statmount"})
"""Answered with ENOSYS when refused: libraries then use the older call."""
_OWNERSHIP = (
    "chown chown32 fchown fchown32 fchownat lchown lchown32 setfsgid setfsgid32 setfsuid "
    "setfsuid32 setgid setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 "
    "setresuid setresuid32 setreuid setreuid32 setuid setuid32"
)


@lru_cache(maxsize=8)
def default_profile(capabilities: int, *, fake_ownership: bool = False) -> bytes:
    """Compile the default filter for a container with these capabilities (a mask).

    With `fake_ownership`, changing owners and identities, and making devices, does nothing and
    succeeds: for a user namespace in which only one id exists.
    """
    rules = [*(_faked() if fake_ownership else ()), *_default_rules(capabilities)]
    return bpf.assemble(rules, DENY, native_machines())


def compile_profile(profile: bytes, capabilities: int) -> bytes:
    """Compile a profile in Docker's or OCI's JSON; UsageError says what is wrong with it."""
    from builder.kernel import seccomp_profile  # with json: for the few who bring a profile

    return bpf.assemble(*seccomp_profile.read(profile, capabilities, native_machines()))


def native_machines() -> tuple[str, ...]:
    """Name the architectures whose programs this machine runs; raise KernelError."""
    machine = os.uname().machine
    families = {"x86_64": ("x86_64", "i386"), "aarch64": ("aarch64", "arm")}
    if machine not in families:
        raise KernelError("seccomp", _ENOSYS, machine, fix="use an x86_64 or aarch64 machine")
    return families[machine]


def _default_rules(capabilities: int) -> list[Rule]:
    gated = {name for names in _BY_CAPABILITY.values() for name in names.split()}
    opened = {
        name
        for capability, names in _BY_CAPABILITY.items()
        if capabilities >> NUMBERS[capability] & 1
        for name in names.split()
    }
    every = set().union(*(bpf.call_numbers(machine) for machine in native_machines()))
    closed = gated - opened
    conditional = _conditional_rules(is_admin=bool(capabilities >> NUMBERS["SYS_ADMIN"] & 1))
    decided = {name for rule in conditional for name in rule.names}
    return [
        *conditional,
        Rule(_HIDDEN & closed, ABSENT),
        Rule(frozenset(every.difference(_NEVER.split(), closed, decided)), ALLOW),
    ]


def _conditional_rules(*, is_admin: bool) -> list[Rule]:
    """Look at arguments. The kernel reads them as 32-bit numbers: only the low word counts."""
    rules = [
        *(_when("socket", DENY, 0, family) for family in (_AF_ALG, _AF_VSOCK)),
        Rule(frozenset({"socket"}), ALLOW),
        *(_when("personality", ALLOW, 0, value) for value in _PERSONALITIES),
        *(_when("ioctl", DENY, 1, request) for request in (_TIOCSTI, _TIOCLINUX)),
        Rule(frozenset({"ioctl"}), ALLOW),
    ]
    flags = () if is_admin else (Condition(0, "&==", 0, _NAMESPACE_FLAGS),)
    return [*rules, Rule(frozenset({"clone"}), ALLOW, flags)]


def _faked() -> list[Rule]:
    devices = (_S_IFCHR, _S_IFBLK)
    return [
        Rule(frozenset(_OWNERSHIP.split()), ERRNO),
        *(_when("mknod", ERRNO, 1, kind, mask=_S_IFMT) for kind in devices),
        *(_when("mknodat", ERRNO, 2, kind, mask=_S_IFMT) for kind in devices),
    ]


def _when(name: str, action: int, index: int, value: int, *, mask: int = _LOW_WORD) -> Rule:
    return Rule(frozenset({name}), action, (Condition(index, "&==", value, mask),))
