import os
import signal

import pytest

from builder.errors import KernelError
from builder.kernel import pidfd


def test_a_process_is_signalled_until_it_ends() -> None:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    fd = pidfd.open_process(pid)

    before = pidfd.is_readable(fd, 0)
    sent = pidfd.send(fd, signal.SIGKILL)
    after = pidfd.is_readable(fd, 5)
    os.waitpid(pid, 0)
    again = pidfd.send(fd, signal.SIGKILL)
    os.close(fd)

    assert (before, sent, after, again) == (False, True, True, False)


def test_a_missing_process_is_an_error() -> None:
    with pytest.raises(KernelError):
        pidfd.open_process(2**22 - 1)
