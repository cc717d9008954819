"""The use cases of containers: each is one method, in terms of a store and of requests."""

from _socket import socket
from collections.abc import Callable

from builder.containers import lifecycle
from builder.containers.clients import dial
from builder.containers.creation import ImageFound, Workplace, create, remove
from builder.containers.exec_spec import ExecRequest
from builder.containers.model import Container, State
from builder.containers.plan import plan_of
from builder.containers.records import Record
from builder.containers.request import Attachment, ContainerRequest
from builder.containers.runtime import Plan
from builder.errors import BuilderError, Conflict, StartError
from builder.kernel.namespaces import Privileges

_PATIENCE_S = 2.0
FindImage = Callable[[ContainerRequest], ImageFound]


class Containers:
    """All that can be done with the containers of one store."""

    def __init__(
        self,
        place: Workplace,
        privileges: Privileges,
        *,
        find_image: FindImage,
        warn: Callable[[str], None],
    ) -> None:
        """Keep the parts. `find_image` finds, pulls or loads an image, and unpacks it."""
        self.place = place
        self.privileges = privileges
        self._find_image = find_image
        self._warn = warn

    def create(self, request: ContainerRequest, *, is_detached: bool = True) -> Container:
        """Make a container without starting it."""
        return create(self.place, request, self._find_image, is_detached=is_detached)

    def run(self, request: ContainerRequest, attachment: Attachment) -> int:
        """Make a container and run it in the foreground; its exit status, 0 after detaching.

        Raises StartError if it does not start. Call it from the main thread.
        """
        container = self.create(request, is_detached=False)
        plan = self._planned(container)
        if request.is_tty:
            return self._run_on_terminal(plan, attachment)
        from builder.containers.monitor import Local, Monitor
        from builder.containers.quick import remember
        from builder.containers.supervision import runtime_of, supervise

        local = Local(
            attachment.stdin, attachment.stdout, attachment.stderr, attachment.is_sig_proxy
        )
        remember(self.place.store, plan)
        runtime = runtime_of(self.place, plan, self._warn)
        monitor = Monitor(runtime, self.place.records, self.place.journal, local=local)

        def ended() -> None:
            if request.is_removed:
                remove(self.place, container, with_volumes=True)

        return supervise(monitor, local, ended)

    def run_detached(self, request: ContainerRequest) -> str:
        """Make a container and leave it running; its id."""
        container = self.create(request)
        self.start_detached(self._planned(container))
        return container.id

    def record(self, name: str) -> Record:
        """Find a container; raise NotFound."""
        return self.place.records.get(name)

    def start(self, name: str, attachment: Attachment | None = None) -> int:
        """Start a container that does not run; with an attachment its exit status, else 0.

        One that runs already is left alone, or attached to. Raises Conflict.
        """
        container, state = self.record(name)
        if state.is_alive:
            return 0 if attachment is None else self.attach(name, attachment)
        with self.place.records.locked(container.id):
            container, state = self.record(container.id)
            if state.is_alive:
                raise Conflict(f"container {container.name} has been started by somebody else")
            lifecycle.release_leftovers(container, state)
            plan = self._planned(container)
            if attachment is None:
                self.start_detached(plan)
                return 0
            connection = self._handed_over(plan, attachment)
        return self._attached(container, connection, attachment)

    def stop(self, name: str, *, timeout_s: float | None, signal: str = "") -> None:
        """Ask a container to end, and kill it if it does not."""
        lifecycle.stop(self.place, self.record(name), timeout_s=timeout_s, signal=signal)

    def restart(self, name: str, *, timeout_s: float | None, signal: str = "") -> None:
        """Stop a container if it runs, and start it."""
        from builder.containers.monitor import RESTARTED

        record = self.record(name)
        container = record.container
        if container.request.is_removed:
            self.place.records.mark(container.id, RESTARTED, is_set=True)
        lifecycle.stop(self.place, record, timeout_s=timeout_s, signal=signal)
        self.start(container.id)
        self.place.journal.container("restart", container)

    def attach(self, name: str, attachment: Attachment) -> int:
        """Connect the caller to a running container until it ends; its exit status.

        Raises Conflict.
        """
        container, state = self.record(name)
        if state.status == "paused":
            raise Conflict(f"container {container.name} is paused", fix="unpause it first")
        if not state.is_alive:
            raise Conflict(
                f"container {container.name} is not running, so nothing can be attached to it",
                fix=f"start it: builder start -a {container.name}",
            )
        path = self.place.records.path(container.id)
        connection = dial(path, patience_s=_PATIENCE_S)
        return self._attached(container, connection, attachment)

    def execute(self, name: str, request: ExecRequest, attachment: Attachment) -> int:
        """Run one more process in a container, in the foreground; its exit status."""
        from builder.containers.executing import Execution, execution_spec

        record = self.record(name)
        spec = execution_spec(self.place, record, request, self.privileges, attachment)
        self.place.journal.container(f"exec_start: {' '.join(request.argv)}", record.container)
        return Execution(spec, has_stdin=request.is_interactive, attachment=attachment).run()

    def execute_detached(self, name: str, request: ExecRequest) -> None:
        """Leave one more process running in a container."""
        from builder.containers.executing import execution_spec, run_detached

        spec = execution_spec(self.place, self.record(name), request, self.privileges, None)
        run_detached(self.place, spec)

    def start_detached(self, plan: Plan) -> None:
        """Put a monitor in charge of a container and return once it runs."""
        from builder.containers.supervision import hand_over

        warnings: list[str] = []
        hand_over(self.place, plan, is_attached=False, warnings=warnings)
        self._tell(warnings)

    def sweep(self) -> None:
        """Clean up after monitors that were killed."""
        lifecycle.sweep(self.place, is_root=self.privileges.is_root)

    def sizes(self, container: Container) -> tuple[int, int]:
        """Count the bytes of a container's own files, and of all that it sees."""
        import os

        from builder.containers.changes import active_of
        from builder.kernel.trees import disk_usage

        snapshots = self.place.store.snapshots
        upper = active_of(self.place, container).upper
        fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            own = disk_usage(fd)[0]
        finally:
            os.close(fd)
        snapshot = None if container.snapshot is None else snapshots.find(container.snapshot)
        chain = snapshots.stack(snapshot) if snapshot is not None else ()
        return own, own + sum(snapshots.usage(below) for below in chain)

    def _run_on_terminal(self, plan: Plan, attachment: Attachment) -> int:
        return self._attached(plan.container, self._handed_over(plan, attachment), attachment)

    def _handed_over(self, plan: Plan, attachment: Attachment) -> socket:
        from builder.containers.caller import terminal_size
        from builder.containers.supervision import hand_over

        warnings: list[str] = []
        connection = hand_over(
            self.place,
            plan,
            is_attached=True,
            console_size=terminal_size(attachment) if attachment.is_tty else (0, 0),
            warnings=warnings,
        )
        self._tell(warnings)
        if connection is None:
            raise StartError("the container's monitor did not answer")
        return connection

    def _attached(self, container: Container, connection: socket, attachment: Attachment) -> int:
        from builder.containers.attach import Attached
        from builder.containers.main_process import send

        def kill(number: int) -> None:
            send(self.record(container.id).state, number)

        status = Attached(connection, attachment, kill).run()
        if status is None:  # the monitor went without a word
            return lifecycle.status_of(self.place, Record(container, State()))
        return status

    def _planned(self, container: Container) -> Plan:
        """Look up what a first start needs; a container that cannot start stays, if not --rm."""
        try:
            return plan_of(self.place, container, self.privileges, self._image_named)
        except BuilderError:
            if container.request.is_removed:
                remove(self.place, container, with_volumes=True)
            raise

    def _image_named(self, name: str) -> ImageFound:
        return self._find_image(ContainerRequest(name))

    def _tell(self, warnings: list[str]) -> None:
        for warning in warnings:
            self._warn(warning)
