"""Ordinary users: entering the user namespace in which a container of theirs was made.

Whoever wants to look into its /proc entries, or run a process in it, must be there; a fresh
namespace of the same user has no rights over another.
"""

import os

from builder.containers.records import Records
from builder.errors import BuilderError


def join_container(state_dir: str, name: str) -> None:
    """Enter a running container's user namespace; nothing for root, or if it does not run.

    Call it before the engine is opened, while the process has one thread.
    """
    if os.geteuid() == 0:
        return
    try:
        state = Records(state_dir).get(name).state
    except BuilderError:
        return  # whoever needs the container will say so
    if state.is_alive and state.pid:
        from builder.kernel.namespaces import enter

        enter(join_pid=state.pid)
