import ctypes
import os
import socket
import struct
from collections.abc import Callable

import pytest

from builder.kernel import bpf, capabilities, seccomp, syscalls

libc = ctypes.CDLL(None, use_errno=True)
_MACHINE = os.uname().machine
_MAX_STEPS = 60


def under_filter(program: bytes, action: Callable[[], int]) -> int:
    """Call in a child under a filter; return what it returns (0 to 250)."""
    pid = os.fork()
    if pid == 0:
        status = 255
        try:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
            syscalls.seccomp(program)
            status = action()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def call(name: str, *arguments: int) -> int:
    """Make a call by name; return its errno, or 0."""
    number = bpf.call_numbers(_MACHINE)[name]
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(value) for value in arguments))
    return ctypes.get_errno() if result < 0 else 0


DEFAULT = seccomp.default_profile(capabilities.DEFAULT)


@pytest.mark.parametrize(
    ("name", "arguments", "errno"),
    [
        ("mount", (0, 0, 0, 0, 0), 1),
        ("umount2", (0, 0), 1),
        ("pivot_root", (0, 0), 1),
        ("setns", (-1, 0), 1),
        ("unshare", (0x10000000,), 1),
        ("clone", (0x10000000 | 17, 0, 0, 0, 0), 1),
        ("clone3", (0, 0), 38),
        ("bpf", (0, 0, 0), 1),
        ("perf_event_open", (0, 0, 0, 0, 0), 1),
        ("keyctl", (0, 0, 0, 0, 0), 1),
        ("add_key", (0, 0, 0, 0, 0), 1),
        ("io_uring_setup", (1, 0), 1),
        ("userfaultfd", (0,), 1),
        ("kexec_load", (0, 0, 0, 0), 1),
        ("swapon", (0, 0), 1),
        ("init_module", (0, 0, 0), 1),
        ("reboot", (0, 0, 0, 0), 1),
        ("settimeofday", (0, 0), 1),
        ("open_by_handle_at", (-1, 0, 0), 1),
        ("acct", (0,), 1),
        ("syslog", (3, 0, 0), 1),
        ("personality", (0x0040000,), 1),
        ("personality", (0xFFFFFFFF,), 0),
        ("move_mount", (-1, 0, -1, 0, 0), 1),
        ("statmount", (0, 0, 0, 0), 38),
        ("getpid", (), 0),
        ("openat2", (-1, 0, 0, 0), 22),
        ("close_range", (200, 201, 0), 0),
        ("pidfd_open", (1, 0xFFFF), 22),
        ("memfd_secret", (0xFFFF,), 22),
        ("landlock_create_ruleset", (0, 0, 1), 0),
    ],
)
def test_the_kernel_enforces_the_default(name: str, arguments: tuple[int, ...], errno: int) -> None:
    if name in {"memfd_secret", "landlock_create_ruleset"} and call(name, *arguments) == 38:
        pytest.skip("not in this kernel")

    assert under_filter(DEFAULT, lambda: call(name, *arguments)) == errno


@pytest.mark.parametrize("family", [38, 40])
def test_families_with_a_history_are_refused(family: int) -> None:
    def action() -> int:
        try:
            socket.socket(family, socket.SOCK_SEQPACKET).close()
        except OSError as error:
            return error.errno or 0
        return 0

    assert under_filter(DEFAULT, action) == 1


def test_ordinary_sockets_and_threads_work() -> None:
    def action() -> int:
        import threading

        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        return 0

    assert under_filter(DEFAULT, action) == 0


@pytest.mark.parametrize(
    ("capability", "names"),
    [
        ("SYS_ADMIN", ("mount", "setns", "clone3", "bpf", "statmount")),
        ("SYS_CHROOT", ("chroot",)),
        ("SYS_TIME", ("settimeofday",)),
        ("SYS_MODULE", ("init_module",)),
        ("SYSLOG", ("syslog",)),
        ("DAC_READ_SEARCH", ("open_by_handle_at",)),
    ],
)
def test_a_capability_opens_its_calls(capability: str, names: tuple[str, ...]) -> None:
    mask = 1 << capabilities.NUMBERS[capability]

    for name in names:
        assert _action(seccomp.default_profile(mask), name) == bpf.ALLOW
        assert _action(seccomp.default_profile(0), name) != bpf.ALLOW


def test_no_capability_opens_keyrings_or_io_uring() -> None:
    program = seccomp.default_profile(capabilities.ALL)

    for name in ("keyctl", "add_key", "request_key", "io_uring_setup", "kexec_load", "userfaultfd"):
        assert _action(program, name) == bpf.DENY


def test_ownership_is_pretended() -> None:
    program = seccomp.default_profile(capabilities.DEFAULT, fake_ownership=True)

    def action() -> int:
        os.chown("/", 12345, 12345)
        os.setresuid(5, 5, 5)
        os.mknod("/nowhere", 0o020666, os.makedev(1, 3))
        return call("getuid") or int(os.getuid() == 5)

    assert under_filter(program, action) == 0


def test_most_calls_take_few_steps() -> None:
    steps = [_steps(DEFAULT, number) for number in bpf.call_numbers("x86_64").values()]

    assert max(steps) <= _MAX_STEPS
    assert sum(steps) / len(steps) < 15


def test_programs_of_32_bits_run_too() -> None:
    number = bpf.call_numbers("i386")

    program = DEFAULT
    assert _run(program, 0x40000003, number["write"]) == bpf.ALLOW
    assert _run(program, 0x40000003, number["mount"]) == bpf.DENY
    assert _run(program, 0x40000003, number["socketcall"]) == bpf.ALLOW


def _action(program: bytes, name: str) -> int:
    return _run(program, 0xC000003E, bpf.call_numbers("x86_64")[name])


def _run(program: bytes, architecture: int, number: int) -> int:
    return _trace(program, architecture, number)[0]


def _steps(program: bytes, number: int) -> int:
    return _trace(program, 0xC000003E, number)[1]


def _trace(program: bytes, architecture: int, number: int) -> tuple[int, int]:
    data = struct.pack("=iIQ6Q", number, architecture, *(0,) * 7)
    instructions = list(struct.iter_unpack("HBBI", program))
    position = accumulator = steps = 0
    while True:
        code, if_true, if_false, constant = instructions[position]
        position, steps = position + 1, steps + 1
        if code == 0x20:
            accumulator = int.from_bytes(data[constant : constant + 4], "little")
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x05:
            position += constant
        elif code == 0x06:
            return constant, steps
        else:
            met = {0x15: accumulator == constant, 0x35: accumulator >= constant}
            met[0x25] = accumulator > constant
            position += if_true if met[code] else if_false


pytestmark = pytest.mark.skipif(_MACHINE != "x86_64", reason="numbers of x86_64")
