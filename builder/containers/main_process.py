"""Signals to a container's main process, and to no other that got its pid since."""

import os
import signal
from errno import EINVAL, ESRCH

from builder.containers.model import State
from builder.errors import KernelError
from builder.networks.model import start_ticks


def send(state: State, number: int) -> bool:
    """Send a signal to the main process; False if it is gone.

    Raises KernelError.
    """
    if not state.pid:
        return False
    try:
        pidfd = os.pidfd_open(state.pid)
    except OSError as error:
        if error.errno in {ESRCH, EINVAL}:
            return False
        raise KernelError("pidfd_open", error.errno or 0, str(state.pid)) from None
    try:
        if start_ticks(state.pid) != state.ticks:
            return False
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise KernelError("kill", error.errno or 0, str(state.pid)) from None
    finally:
        os.close(pidfd)
    return True
