"""`exec`: one more process in a container that runs, with the caller as its parent."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from builder.containers.caller import CallerInput, passing_signals, show, terminal_size
from builder.containers.changes import active_of
from builder.containers.creation import Workplace
from builder.containers.exec_spec import ExecRequest, exec_spec, root_of
from builder.containers.lifecycle import group_of
from builder.containers.records import Record
from builder.containers.request import Attachment
from builder.containers.runtime import Plan
from builder.containers.streams import Streams, is_passed_on
from builder.errors import Conflict, NotFound, StartError, UsageError
from builder.kernel import ids
from builder.kernel.loop import READABLE, Loop
from builder.kernel.namespaces import Privileges
from builder.sandbox import console
from builder.sandbox.direct import launch_direct
from builder.sandbox.launch import Exit, Sandbox
from builder.sandbox.spec import SandboxSpec

_SIGWINCH = 28


class Execution:
    """One `exec` in the foreground; `run` returns its exit status, or 0 after detaching."""

    def __init__(self, spec: SandboxSpec, *, has_stdin: bool, attachment: Attachment) -> None:
        """Prepare; nothing runs yet."""
        self._spec = spec
        self._attachment = attachment
        self._loop = Loop()
        self._passed = self._passed_on(has_stdin=has_stdin)
        self._streams = Streams(
            self._loop,
            self._on_output,
            is_tty=spec.is_tty,
            has_stdin=has_stdin and self._passed is None,
        )
        self._exit: Exit | None = None
        self._input = CallerInput(
            self._loop, attachment, give=self._give, end=self._streams.end_input
        )

    def run(self) -> int:
        """Start the process and stay until it has ended. Raises StartError."""
        inner, out, err = self._streams.child_fds
        stdin = inner if self._passed is None else self._passed
        sandbox = launch_direct(self._spec, stdin, out, err)
        with sandbox, ExitStack() as stack:
            stack.callback(self._streams.close)
            started = sandbox.started()
            self._streams.started(started.console)
            self._loop.watch(sandbox.fileno(), READABLE, lambda: self._ended(sandbox))
            stack.enter_context(self._connected(sandbox))
            while self._exit is None or not self._streams.is_drained:
                if self._input.is_detached:
                    return 0
                self._loop.turn()
                if self._exit is not None and self._spec.is_tty:
                    self._drain()
            return self._exit.status

    def _passed_on(self, *, has_stdin: bool) -> int | None:
        stdin = self._attachment.stdin
        if not has_stdin or self._spec.is_tty or stdin is None:
            return None
        return stdin if is_passed_on(stdin) else None

    def _drain(self) -> None:
        """Read what the terminal still holds; a process left in the background keeps it open."""
        self._loop.after(0.05, self._streams.close)
        while not self._streams.is_drained:
            self._loop.turn()

    def _ended(self, sandbox: Sandbox) -> None:
        self._loop.unwatch(sandbox.fileno())
        self._exit = sandbox.wait()

    def _on_output(self, stream: str, content: bytes) -> None:
        fd = self._attachment.stdout if stream == "stdout" else self._attachment.stderr
        show(fd, content)

    def _give(self, content: bytes) -> None:
        self._streams.write(content)
        if not self._streams.has_room:
            self._input.pause()

    @contextmanager
    def _connected(self, sandbox: Sandbox) -> Iterator[None]:
        """Connect the caller's input, terminal and signals."""
        with ExitStack() as stack:
            stdin = self._attachment.stdin
            if self._spec.is_tty:
                if stdin is not None:
                    stack.enter_context(console.raw_mode(stdin))
                stack.enter_context(self._resizing())
            else:
                stack.enter_context(passing_signals(sandbox.kill))
            if stdin is not None and self._passed is None:
                self._streams.when_room(self._input.listen)
                self._input.listen()
            yield

    @contextmanager
    def _resizing(self) -> Iterator[None]:
        from signal import signal

        def resize(_number: int, _frame: object) -> None:
            rows, columns = terminal_size(self._attachment)
            if rows and self._streams.console >= 0:
                console.set_size(self._streams.console, rows, columns)

        previous = signal(_SIGWINCH, resize)
        resize(0, None)
        try:
            yield
        finally:
            signal(_SIGWINCH, previous)


def execution_spec(
    place: Workplace,
    record: Record,
    request: ExecRequest,
    privileges: Privileges,
    attachment: Attachment | None,
) -> SandboxSpec:
    """Look up what an exec needs; raise Conflict unless the container runs."""
    container, state = record
    if state.status == "paused":
        raise Conflict(f"Container {container.name} is paused, unpause the container before exec")
    if state.status != "running":
        raise Conflict(f"container {container.id} is not running", fix="start it first")
    active = active_of(place, container)
    identity = _identity(state.pid, request.user or container.config.user, container.request.groups)
    size = terminal_size(attachment) if attachment is not None and request.is_tty else (0, 0)
    return exec_spec(
        Plan(container, active, identity, privileges, place.store.root),
        request.argv,
        pid=state.pid,
        cgroup=group_of(container, state),
        request=request,
        console_size=size,
    )


def run_detached(place: Workplace, spec: SandboxSpec) -> None:
    """Leave a process running in its container; raises StartError if it does not start."""
    from builder.containers.supervision import started_apart

    def body(ready: Callable[[], None]) -> None:
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        with launch_direct(spec, null, null, null) as sandbox:
            sandbox.started()
            ready()
            sandbox.wait()

    started_apart(place, body)


def _identity(pid: int, user: str, groups: tuple[str, ...]) -> ids.Identity:
    root_fd = root_of(pid)
    try:
        identity = ids.resolve_user(root_fd, user)
        added = [ids.resolve_group(root_fd, group) for group in groups]
    except (NotFound, UsageError) as error:
        raise StartError(error.what, fix=error.fix) from None
    finally:
        os.close(root_fd)
    return identity._replace(groups=tuple(dict.fromkeys((*identity.groups, *added))))
