"""A container that `cli.instant` has started and that goes on gets the monitor that others have."""

import os
from collections.abc import Callable
from contextlib import suppress

from builder.containers.journal import Journal
from builder.containers.monitor import Begun, Local, Monitor
from builder.containers.network import NetworkPlan
from builder.containers.quick import identity_in, layer_of
from builder.containers.records import Records
from builder.containers.runtime import Plan, Runtime
from builder.containers.supervision import supervise
from builder.containers.tidy import tidy
from builder.errors import StoreError
from builder.kernel.namespaces import enter
from builder.sandbox.direct import taken_over
from builder.values import NamedTuple


class Running(NamedTuple):
    """A container's process, a child of this one, and what was made for it."""

    pid: int
    pidfd: int
    sources: dict[int, str]
    """Its output, and which stream each is."""
    said: tuple[tuple[str, bytes], ...]
    """What was read and shown already."""
    lowers: tuple[str, ...]
    lease_path: str


def adopt(root: str, container_id: str, running: Running, warn: Callable[[str], None]) -> int:
    """Watch over a running container in the foreground until it ends; its exit status."""
    records, journal = Records(root), Journal(root)
    container = records.get(container_id).container
    active = layer_of(records.path(container_id), running.lowers, container.snapshot)
    if active is None:
        raise StoreError(f"the files of container {container.name} are gone")
    privileges = enter()
    identity = identity_in(container, active, userxattr=privileges.userxattr)
    plan = Plan(container, active, identity, privileges, root)
    local = Local(None, 1, 2)
    runtime = Runtime(plan, records, NetworkPlan(root, privileges.is_root, warn))
    sandbox = taken_over(running.pid, running.pidfd, container.argv[0])

    def ended() -> None:
        records.remove(container)
        journal.container("destroy", container)

    try:
        monitor = Monitor(runtime, records, journal, local=local)
        return supervise(monitor, local, ended, Begun(sandbox, running.sources, running.said))
    finally:
        with suppress(FileNotFoundError):
            os.unlink(running.lease_path)
        tidy(root)
