"""System calls that the `os` module lacks, one declaration each.

Every function raises KernelError(syscall, errno, path). ENOSYS is an answer like any other here:
who can do without a call catches it. Calls release the interpreter lock, but for `clone`, whose
child must find it held.
"""

import os
import struct
from errno import EINVAL, ENOSYS

from builder.errors import KernelError
from builder.kernel import libc
from builder.kernel.libc import Int, Long, Text, UnsignedLong, get_errno

IS_X86_64 = os.uname().machine == "x86_64"
IS_AARCH64 = os.uname().machine in {"aarch64", "arm64"}

CLONE_FS = 0x0000_0200
CLONE_PIDFD = 0x0000_1000
CLONE_PARENT = 0x0000_8000
CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_NUMBERS = {  # name: (x86_64, aarch64 and all newer ports)
    "getcwd": (79, 17),
    "rt_sigprocmask": (14, 135),
    "clone": (56, 220),
    "pivot_root": (155, 41),
    "capget": (125, 90),
    "capset": (126, 91),
    "signalfd4": (289, 74),
    "seccomp": (317, 277),
    "pidfd_send_signal": (424, 424),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "close_range": (436, 436),
    "mount_setattr": (442, 442),
}

_CAPABILITY_VERSION_3 = 0x20080522
_SECCOMP_SET_MODE_FILTER = 1

_syscall = libc.LongFunction(libc.address("syscall"))
_locked_syscall = libc.LockedFunction(libc.address("syscall"))


def _number(name: str) -> int:
    if not (IS_X86_64 or IS_AARCH64):
        raise KernelError(name, ENOSYS, os.uname().machine)
    return _NUMBERS[name][0 if IS_X86_64 else 1]


def _wrapper(name: str, *types: type[libc.Value]) -> libc.Function:
    function = libc.Function(libc.address(name))
    function.argtypes = types
    return function


_mount = _wrapper("mount", Text, Text, Text, UnsignedLong, Text)
_umount2 = _wrapper("umount2", Text, Int)
_unshare = _wrapper("unshare", Int)
_setns = _wrapper("setns", Int, Int)
_prctl = _wrapper("prctl", Int, Long, Long, Long, Long)
_sethostname = _wrapper("sethostname", Text, UnsignedLong)
_fstatfs = _wrapper("fstatfs", Int, libc.Longs)
_setdomainname = _wrapper("setdomainname", Text, UnsignedLong)


def _checked(result: int, syscall: str, path: str = "") -> int:
    if result < 0:
        raise KernelError(syscall, get_errno(), path)
    return result


def _raw(name: str, *arguments: libc.Value, path: str = "") -> int:
    """Make a call by number; arguments must be ctypes values as wide as a register."""
    return _checked(_syscall(Long(_number(name)), *arguments), name, path)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def mount(source: str, target: str, fstype: str, flags: int, options: str = "") -> None:
    """Attach or change a mount; empty strings are null pointers, but for the target."""
    result = _mount(
        _bytes(source) or None,
        _bytes(target),
        _bytes(fstype) or None,
        flags,
        _bytes(options) or None,
    )
    _checked(result, "mount", target)


def umount(target: str, flags: int) -> None:
    """Detach the topmost mount at the target."""
    _checked(_umount2(_bytes(target), flags), "umount2", target)


def pivot_root(new_root: str, put_old: str) -> None:
    """Exchange the root mount of this mount namespace."""
    _raw("pivot_root", Text(_bytes(new_root)), Text(_bytes(put_old)), path=new_root)


def unshare(flags: int) -> None:
    """Move the caller into new namespaces (or give its thread a working directory of its own)."""
    _checked(_unshare(flags), "unshare")


def setns(fd: int, kinds: int) -> None:
    """Join a namespace by its descriptor, or several kinds at once by a pidfd (5.8)."""
    _checked(_setns(fd, kinds), "setns")


def filesystem_type(fd: int) -> int:
    """Give the magic number of the file system that a descriptor is on."""
    result = (Long * 32)()  # struct statfs, with room; f_type comes first
    _checked(_fstatfs(fd, result), "fstatfs")
    return int(result[0])


def clone(flags: int) -> tuple[int, int]:
    """Fork into new namespaces; return the child's pid and pidfd (-1 where there are none).

    The child gets (0, -1) and is a copy of the calling thread alone: only a single-threaded
    process may call this. `flags` takes no exit signal, it is always SIGCHLD.
    """
    pidfd = (Int * 1)(-1)
    number, signal = Long(_number("clone")), 17
    registers = (Long(0), pidfd, Long(0), Long(0))
    pid = _locked_syscall(number, Long(flags | CLONE_PIDFD | signal), *registers)
    if pid == 0:
        return 0, -1
    if pid < 0 and get_errno() == EINVAL:  # before 5.2
        pid = _locked_syscall(number, Long(flags | signal), *registers)
    return _checked(pid, "clone"), pidfd[0]


def prctl(option: int, value: int = 0, third: int = 0) -> int:
    """Set or ask an attribute of the calling thread or process."""
    return _checked(_prctl(option, value, third, 0, 0), "prctl", str(option))


def set_hostname(name: str) -> None:
    """Name the host of this UTS namespace."""
    _checked(_sethostname(_bytes(name), len(_bytes(name))), "sethostname", name)


def set_domainname(name: str) -> None:
    """Name the NIS domain of this UTS namespace."""
    _checked(_setdomainname(_bytes(name), len(_bytes(name))), "setdomainname", name)


def set_signal_mask(mask: int) -> None:
    """Block exactly the signals whose bits (number minus one) are set."""
    bits = struct.pack("Q", mask)
    _raw("rt_sigprocmask", Long(2), Text(bits), Long(0), Long(len(bits)))


def signalfd(mask: int) -> int:
    """Make a non-blocking descriptor that is readable when one of the signals is pending."""
    bits = struct.pack("Q", mask)
    flags = os.O_CLOEXEC | os.O_NONBLOCK
    return _raw("signalfd4", Long(-1), Text(bits), Long(len(bits)), Long(flags))


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """Signal the process behind a pidfd; ESRCH when it is gone."""
    _raw("pidfd_send_signal", Long(pidfd), Long(signal), Long(0), Long(0))


def close_range(first: int, last: int, flags: int = 0) -> None:
    """Close (or with flag 4, mark close-on-exec) a range of descriptors (5.9, flag 5.11)."""
    _raw("close_range", UnsignedLong(first), UnsignedLong(last), Long(flags))


def kernel_cwd() -> str:
    """Give the working directory as the kernel sees it, `(unreachable)` and all."""
    buffer = libc.buffer(b"", 4096)
    size = _raw("getcwd", buffer, Long(len(buffer)))
    return bytes(buffer)[: size - 1].decode("utf-8", "surrogateescape")


def capset(*, effective: int, permitted: int, inheritable: int) -> None:
    """Set the calling thread's capability sets."""
    sets = (effective, permitted, inheritable)
    words = [word & 0xFFFF_FFFF for word in sets] + [word >> 32 for word in sets]
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _raw("capset", Text(header), Text(struct.pack("6I", *words)))


def capget() -> tuple[int, int, int]:
    """Read the calling thread's effective, permitted and inheritable sets."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    words = (libc.Unsigned32 * 6)()
    _raw("capget", Text(header), words)
    effective, permitted, inheritable = (words[i] | words[i + 3] << 32 for i in range(3))
    return effective, permitted, inheritable


def seccomp(program: bytes) -> None:
    """Install a filter (an array of struct sock_filter) for the calling thread, for good."""
    filters = libc.buffer(program, len(program))
    description = struct.pack("@HP", len(program) // 8, libc.addressof(filters))
    _raw("seccomp", Long(_SECCOMP_SET_MODE_FILTER), Long(0), Text(description))


OPEN_TREE_CLONE = 1
AT_RECURSIVE = 0x8000
AT_EMPTY_PATH = 0x1000


def open_tree(dir_fd: int, path: str, flags: int) -> int:
    """Open a mount, or with OPEN_TREE_CLONE a detached copy of it (5.2)."""
    flags |= os.O_CLOEXEC
    return _raw("open_tree", Long(dir_fd), Text(_bytes(path)), Long(flags), path=path)


def move_mount(from_fd: int, to_fd: int) -> None:
    """Attach the detached mount behind one descriptor on the place behind the other (5.2)."""
    empty = Text(b"")
    both_empty = Long(0x44)  # MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
    _raw("move_mount", Long(from_fd), empty, Long(to_fd), empty, both_empty)


def mount_setattr(fd: int, flags: int, *, attributes: int = 0, propagation: int = 0) -> None:
    """Add attributes (MOUNT_ATTR_*) to the mount behind a descriptor, or set propagation (5.12)."""
    wanted = struct.pack("4Q", attributes, 0, propagation, 0)
    flags |= AT_EMPTY_PATH
    where = (Long(fd), Text(b""), Long(flags))
    _raw("mount_setattr", *where, Text(wanted), Long(len(wanted)))


def fsopen(fstype: str) -> int:
    """Begin the configuration of a file system (5.2)."""
    return _raw("fsopen", Text(_bytes(fstype)), Long(1), path=fstype)


def fsconfig(fd: int, command: int, key: str, value: str = "") -> None:
    """Set a flag (command 0) or string (1) of a file system, or create it (6)."""
    key_text = Text(_bytes(key) or None)
    value_text = Text(_bytes(value) if command == 1 else None)
    _raw("fsconfig", Long(fd), Long(command), key_text, value_text, Long(0), path=key)


def fsmount(fd: int, attributes: int) -> int:
    """Give a detached mount of the configured file system (5.2)."""
    return _raw("fsmount", Long(fd), Long(1), Long(attributes))
