"""What a container needs around it while it runs: network, control group, mounts. Made, released.

A `Plan` is everything that needs the store, looked up beforehand; so a monitor can be forked off
and go on without it. A `Runtime` belongs to the monitor alone.
"""

import os
from typing import TYPE_CHECKING

from builder.containers.model import Container, State
from builder.containers.network import Attachments, NetworkPlan
from builder.containers.records import Records
from builder.containers.spec import Surroundings, limits_of, sandbox_spec
from builder.errors import BuilderError, Conflict
from builder.kernel.cgroup_limits import Limits
from builder.kernel.ids import Identity
from builder.kernel.namespaces import Privileges
from builder.sandbox.launch import Sandbox, Started
from builder.sandbox.spec import SandboxSpec, Stub
from builder.sandbox.stubs import remove_stubs
from builder.store.snapshotter import Active
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.kernel.cgroups import Cgroup

_MARKER = ".dockerenv"


class Plan(NamedTuple):
    """What was looked up for a start. Reusable for every restart."""

    container: Container
    active: Active
    identity: Identity
    privileges: Privileges
    root: str
    """The state directory."""
    image_mounts: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Launched(NamedTuple):
    """A start that went well: what was asked for, and the mount points that were missing."""

    spec: SandboxSpec
    stubs: tuple[Stub, ...]


class Runtime:
    """Holds a container's surroundings between its starts."""

    def __init__(self, plan: Plan, records: Records, network: NetworkPlan) -> None:
        """Keep the plan; nothing is made yet."""
        self.plan = plan
        self._records = records
        self.attachments = Attachments(plan.container, records, network)
        self.cgroup: Cgroup | None = None
        self._started: Started | None = None
        self.launched: Launched | None = None

    @property
    def container(self) -> Container:
        """The container."""
        return self.plan.container

    def prepare(self, *, needs_cgroup: bool) -> None:
        """Connect the networks, publish ports, make the control group.

        A group costs a wait for all processors (15 ms with version 1), so a short foreground run
        without limits has none.
        """
        limits = limits_of(self.container.request.resources)
        if needs_cgroup or limits != Limits():
            from builder.kernel import cgroups

            parent = self.container.request.cgroup_parent.strip("/") or cgroups.PARENT
            self.cgroup = cgroups.create(self.container.id, limits, parent=parent)
        self.attachments.connect()

    def launch(
        self, stdin: int, stdout: int, stderr: int, *, console_size: tuple[int, int] = (0, 0)
    ) -> tuple[Sandbox, Started]:
        """Start the main process; raises StartError, and then nothing of it is left."""
        from builder.sandbox.direct import launch_direct

        opened: list[int] = []
        try:
            spec, fds = sandbox_spec(self.container, self._surroundings(opened, console_size))
            self._mark()
            sandbox = launch_direct(spec, stdin, stdout, stderr, fds)
        finally:
            for fd in opened:
                os.close(fd)
        try:
            self._started = sandbox.started()
        except BaseException:
            sandbox.close()
            raise
        self.launched = Launched(spec, self._started.stubs)
        return sandbox, self._started

    def ended(self) -> None:
        """Take the mount points away that one run made, and let the tree be mounted again."""
        if self._started is None:
            return
        if self.container.request.is_removed:
            from builder.store.overlay import make_mountable

            make_mountable(self.plan.active)
        upper = os.open(self.plan.active.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_stubs(upper, self._started.stubs)
            self._unmark(upper)
        finally:
            os.close(upper)
        self._started = None

    def oom_kills(self) -> int:
        """Count the processes that were killed for want of memory."""
        return self.cgroup.oom_kills() if self.cgroup is not None else 0

    def release(self, *, is_deferred: bool = False) -> None:
        """Give everything back; what cannot be given back is left to the next sweep.

        With `is_deferred` a process of its own does what takes long.
        """
        try:
            self.attachments.disconnect(is_deferred=is_deferred)
        except BuilderError:
            pass
        finally:
            if self.cgroup is not None:
                self.cgroup.kill()
                self.cgroup.remove()
                self.cgroup = None

    def _surroundings(self, opened: list[int], console_size: tuple[int, int]) -> Surroundings:
        request = self.container.request
        return Surroundings(
            active=self.plan.active,
            identity=self.plan.identity,
            privileges=self.plan.privileges,
            root=self.plan.root,
            network=self.attachments.namespace,
            pid=self._shared(request.pid_mode, "pid", opened),
            ipc=self._shared(request.ipc_mode, "ipc", opened),
            etc=self.attachments.etc_files(),
            cgroup=self.cgroup.procs if self.cgroup is not None else (),
            image_mounts=self.plan.image_mounts,
            console_size=console_size,
        )

    def _shared(self, mode: str, kind: str, opened: list[int]) -> int | str:
        """Open another container's namespace for `container:X`; else give the mode's word."""
        if not mode.startswith("container:"):
            return "host" if mode == "host" else "private"
        state = running_state(self._records, mode.removeprefix("container:"))
        fd = os.open(f"/proc/{state.pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        opened.append(fd)
        return fd

    def _mark(self) -> None:
        """Leave the empty file by which programs know that they are in a container."""
        path = f"{self.plan.active.upper}/{_MARKER}"
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))
        except OSError:
            return

    def _unmark(self, upper: int) -> None:
        try:
            if os.stat(_MARKER, dir_fd=upper, follow_symlinks=False).st_size == 0:
                os.unlink(_MARKER, dir_fd=upper)
        except OSError:
            return


def running_state(records: Records, name: str) -> State:
    """Give the state of a container that must be running; raise Conflict if it is not."""
    container, state = records.get(name)
    if not state.is_alive or not state.pid:
        raise Conflict(
            f"container {container.name} is not running", fix=f"start it: builder start {name}"
        )
    return state
