import os
import signal

import pytest

from builder.errors import KernelError
from builder.kernel import capabilities, syscalls


def test_errors_name_the_call_and_the_path() -> None:
    with pytest.raises(KernelError) as caught:
        syscalls.mount("none", "/no/such/place", "tmpfs", 0)

    assert caught.value.syscall == "mount"
    assert "/no/such/place" in caught.value.what


def test_a_clone_is_a_child_with_a_pidfd() -> None:
    pid, pidfd = syscalls.clone(0)
    if pid == 0:
        os._exit(3)

    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(pidfd)

    assert status == 3


def test_a_refused_clone_is_an_error() -> None:
    with pytest.raises(KernelError):
        syscalls.clone(0x0000_0200 | syscalls.CLONE_NEWNS)  # CLONE_FS and CLONE_NEWNS exclude


def test_the_working_directory_is_the_kernels() -> None:
    assert syscalls.kernel_cwd() == os.getcwd()


def test_a_range_of_descriptors_is_closed() -> None:
    fds = [os.dup(0) for _ in range(3)]

    syscalls.close_range(min(fds), max(fds))

    for fd in fds:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_signals_can_be_read_from_a_descriptor() -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            mask = 1 << (signal.SIGUSR2 - 1)
            syscalls.set_signal_mask(mask)
            fd = syscalls.signalfd(mask)
            with pytest.raises(BlockingIOError):
                os.read(fd, 128)
            os.kill(os.getpid(), signal.SIGUSR2)
            content = os.read(fd, 128)
            status = int(int.from_bytes(content[:4], "little") != signal.SIGUSR2)
        finally:
            os._exit(status)

    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.root
def test_capability_sets_are_read_and_set() -> None:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            wanted = capabilities.DEFAULT & syscalls.capget()[1]
            syscalls.capset(effective=wanted, permitted=wanted, inheritable=0)
            status = int(syscalls.capget() != (wanted, wanted, 0))
        finally:
            os._exit(status)

    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("program", [b"", b"\0" * 8, b"\xff" * 16])
def test_a_program_that_is_none_is_refused(program: bytes) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
            syscalls.seccomp(program)
        except KernelError as error:
            os._exit(error.errno)
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 22
