"""A zygote that was not forked: a process of the program that may do something else before.

What a fork leaves to both sides must be copied when either writes to it, page by page, while the
engine is busy loading. Another interpreter costs it nothing where a processor is to spare; it
comes to the engine's namespaces when it is told to.
"""

import os
from _socket import MSG_DONTWAIT, MSG_PEEK, socket
from contextlib import suppress
from typing import NoReturn

from builder.errors import KernelError
from builder.kernel import namespaces
from builder.sandbox.launch import COME, HAS_COME, receive

_FDS = 3


class Recruit:
    """The process's own side; it is single-threaded, and a child of the engine's process."""

    def __init__(self, requests: socket, engine_pid: int) -> None:
        """Take over the socket on which it will be asked for sandboxes."""
        self._requests = requests
        self._engine_pid = engine_pid
        self._has_come = False

    def is_wanted(self) -> bool:
        """Whether to drop all else: a sandbox is asked for soon, or nobody is there any more.

        If it is told to come to the namespaces, it does.
        """
        while True:
            try:
                message = self._requests.recv(len(COME), MSG_PEEK | MSG_DONTWAIT)
            except BlockingIOError:
                return False
            if message != COME:
                return True
            self._come()

    def serve(self) -> NoReturn:
        """Be the zygote from now on, or end if it is not wanted."""
        while not self._has_come:
            if self._requests.recv(len(COME), MSG_PEEK) != COME:
                os._exit(0)
            self._come()
        from builder.sandbox.server import Server

        Server(self._requests, self._engine_pid).serve()

    def _come(self) -> None:
        """Enter the namespaces, and say so; whoever cannot is of no use."""
        _, fds = receive(self._requests, _FDS)
        user_fd, mounts_fd, root_fd = fds
        try:
            namespaces.come(user_fd, mounts_fd, root_fd)
        except KernelError:
            os._exit(1)
        for fd in fds:
            os.close(fd)
        with suppress(OSError):  # the engine has ended; that is noticed later
            self._requests.send(HAS_COME)
        self._has_come = True
