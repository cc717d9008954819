"""The process that watches over a container, from its start to its last end.

It owns the main process, its streams, log, attach socket, health checks and restarts, and is the
only writer of the container's state while it lives. In the foreground without a terminal it is the
command's own process; else a process of its own, which outlives the command.
"""

import os
import signal
import time
from _socket import socket as _socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from builder.containers import frames
from builder.containers.caller import show
from builder.containers.clients import Clients
from builder.containers.journal import Journal
from builder.containers.model import Container, State, monitored, now
from builder.containers.records import PAUSED, Records
from builder.containers.restart import RestartPolicy
from builder.containers.runtime import Runtime
from builder.containers.streams import CHUNK_BYTES, Streams, is_passed_on
from builder.errors import BuilderError, StartError
from builder.kernel.loop import READABLE, Loop
from builder.networks.model import start_ticks
from builder.sandbox.launch import Exit, Sandbox
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.containers.health import HealthChecks
    from builder.containers.logs import LogWriter

STOPPED = "stopped"
"""The note that somebody asked for the end, so that no restart follows."""
RESTARTED = "restarted"
"""The note that the container is started again, so that the end of one run does not remove it."""
KILLED = 137


class Local(NamedTuple):
    """The caller's own streams, for a container in the foreground without a terminal."""

    stdin: int | None
    stdout: int
    stderr: int
    is_sig_proxy: bool = True


class Begun(NamedTuple):
    """A container in the foreground that somebody else has started for us."""

    sandbox: Sandbox
    sources: dict[int, str]
    """Its output, and which stream each is."""
    said: tuple[tuple[str, bytes], ...]
    """What was read already, and shown."""


class Monitor:
    """Runs one container; `run` returns when it has ended for good."""

    def __init__(
        self,
        runtime: Runtime,
        records: Records,
        journal: Journal,
        *,
        local: Local | None = None,
        clients: tuple[_socket, ...] = (),
        console_size: tuple[int, int] = (0, 0),
    ) -> None:
        """Prepare; `clients` are connections of those who are attached from the beginning."""
        self._runtime = runtime
        self._records = records
        self._journal = journal
        self._local = local
        self._console_size = console_size
        self._loop = Loop()
        self._state = monitored(State())
        self._sandbox: Sandbox | None = None
        self._streams: Streams | None = None
        self._exit: Exit | None = None
        self._log: LogWriter | None = None
        self._policy = RestartPolicy(runtime.container.request.restart)
        self._health: HealthChecks | None = None
        self._started_s = 0.0
        self._interrupts = 0
        self._clients = Clients(
            self._loop,
            on_input=self._on_input,
            on_input_end=self._on_input_end,
            on_resize=self._on_resize,
            on_flow=self._on_flow,
        )
        self._initial = clients

    @property
    def container(self) -> Container:
        """The container."""
        return self._runtime.container

    def run(
        self, ready: Callable[[], None], ended: Callable[[], None], begun: Begun | None = None
    ) -> int:
        """Start the container, call `ready`, and stay until it has ended; its exit status.

        `ended` is called last, but before those attached hear of the end. Raises StartError (or
        another BuilderError) if it does not start at all; its state then says why.
        """
        self._records.mark(self.container.id, STOPPED, is_set=False)
        self._records.mark(self.container.id, PAUSED, is_set=False)
        self._records.mark(self.container.id, RESTARTED, is_set=False)
        for connection in self._initial:
            self._clients.add(connection, wants_output=True)
        try:
            try:
                self._runtime.prepare(needs_cgroup=self._needs_cgroup())
                self._clients.listen(self._records.path(self.container.id))
                if begun is None:
                    self._start()
                else:
                    self._take_over(begun)
            except BuilderError as error:
                self._fail(error)
                raise
            self._runtime.attachments.serve_names(self._loop)
            ready()
            status = self._watch()
            self._close_log()
            ended()
            self._clients.tell_exit(status)
        finally:
            self._close_log()
            self._runtime.release()
            self._clients.close()
        return status

    def proxy_signal(self, number: int, _frame: object) -> None:
        """Pass a signal on to the main process; three interrupts in a row kill it."""
        if self._sandbox is None:
            return
        self._interrupts += number == signal.SIGINT
        self._sandbox.kill(signal.SIGKILL if self._interrupts >= 3 else number)  # noqa: PLR2004

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()

    def _needs_cgroup(self) -> bool:
        return self._local is None or not self.container.request.is_removed

    def _start(self) -> None:
        request = self.container.request
        stdin = self._passed_stdin()
        streams = Streams(
            self._loop,
            self._on_output,
            is_tty=request.is_tty,
            has_stdin=request.is_interactive and stdin is None,
        )
        try:
            inner, out, err = streams.child_fds
            self._sandbox, started = self._runtime.launch(
                inner if stdin is None else stdin, out, err, console_size=self._console_size
            )
        except BaseException:
            streams.close()
            raise
        streams.started(started.console)
        self._streams, self._exit = streams, None
        self._started_s = time.monotonic()
        self._save(
            status="running",
            pid=started.pid,
            ticks=start_ticks(started.pid),
            exit_code=0,
            error="",
            is_oom_killed=False,
            started_at=now(),
            ports=self._runtime.attachments.ports,
            has_cgroup=self._runtime.cgroup is not None,
        )
        self._loop.watch(self._sandbox.fileno(), READABLE, self._on_exit)
        self._attach_local(streams, stdin)
        self._journal.container("start", self.container)
        self._check_health(started.pid)

    def _take_over(self, begun: Begun) -> None:
        """Go on with a container that runs, and whose state says so."""
        self._state = self._records.get(self.container.id).state
        self._sandbox, self._started_s = begun.sandbox, time.monotonic()
        self._streams = Streams(self._loop, self._on_output, sources=begun.sources)
        for stream, content in begun.said:
            self._keep(stream, content)
        self._streams.started(None)
        self._loop.watch(begun.sandbox.fileno(), READABLE, self._on_exit)

    def _passed_stdin(self) -> int | None:
        """Give the caller's input to the first run itself where that is harmless."""
        if self._local is None or self._local.stdin is None or self._state.restart_count:
            return None
        return self._local.stdin if is_passed_on(self._local.stdin) else None

    def _attach_local(self, streams: Streams, passed: int | None) -> None:
        if self._local is None or self._local.stdin is None or passed is not None:
            return
        source = self._local.stdin

        def read() -> None:
            content = os.read(source, CHUNK_BYTES)
            if not content:
                self._loop.unwatch(source)
                streams.end_input()
                return
            streams.write(content)
            if not streams.has_room:
                self._loop.unwatch(source)

        def listen() -> None:
            self._loop.watch(source, READABLE, read)

        streams.when_room(listen)
        listen()

    def _watch(self) -> int:
        """Serve until the container has ended and will not start again."""
        while True:
            while self._exit is None or (self._streams and not self._streams.is_drained):
                self._loop.turn()
            status = self._finish_run()
            delay_s = self._restart_delay(status)
            if delay_s is None:
                self._save_end(status="exited", finished_at=now(), ports=())
                return status
            self._clients.tell_exit(status)
            if not self._restart(delay_s):
                return status

    def _on_exit(self) -> None:
        if self._sandbox is None:
            return
        self._loop.unwatch(self._sandbox.fileno())
        self._exit = self._sandbox.wait()

    def _finish_run(self) -> int:
        """Take note of how a run ended."""
        if self._sandbox is None or self._exit is None or self._streams is None:
            raise StartError("the container did not run")
        status = self._exit.status
        is_oom = status == KILLED and self._runtime.oom_kills() > 0
        if self._health is not None:
            self._health.stop()
            self._health = None
        self._sandbox.close()
        self._streams.close()
        if self._log is not None:
            self._log.flush()
        self._runtime.ended()
        self._state = self._state._replace(exit_code=status, is_oom_killed=is_oom)
        if is_oom:
            self._journal.container("oom", self.container)
        self._journal.container("die", self.container, exitCode=str(status))
        self._sandbox = None
        return status

    def _restart_delay(self, status: int) -> float | None:
        if self._records.is_marked(self.container.id, STOPPED):
            return None
        return self._policy.delay_s(status, ran_s=time.monotonic() - self._started_s)

    def _restart(self, delay_s: float) -> bool:
        """Wait and start again; False if somebody asked for the end meanwhile, or it failed."""
        count = self._state.restart_count + 1
        self._save(status="restarting", restart_count=count, pid=0, ticks=0, finished_at=now())
        due: list[bool] = []
        self._loop.after(delay_s, lambda: due.append(True))
        while not due and not self._records.is_marked(self.container.id, STOPPED):
            self._loop.turn()
        if not self._records.is_marked(self.container.id, STOPPED):
            try:
                self._start()
            except BuilderError as error:
                self._fail(error)
                return False
            return True
        self._save_end(status="exited", finished_at=now())
        return False

    def _fail(self, error: BuilderError) -> None:
        has_run = self._state.restart_count > 0
        self._save_end(
            status="exited" if has_run else "created",
            exit_code=error.exit_status if isinstance(error, StartError) else 128,
            error=error.what,
            monitor_pid=0,
        )

    def _check_health(self, pid: int) -> None:
        check = self.container.config.healthcheck
        if check is None or check.test[:1] in {(), ("NONE",)}:
            return
        from builder.containers.health import HealthChecks

        self._health = HealthChecks(
            self._loop, self._runtime.plan, pid, self._runtime.cgroup, self._on_health
        )

    def _on_health(self, checks: "HealthChecks") -> None:
        before = self._state.health
        self._save(health=checks.health)
        if before is None or before.status != checks.health.status:
            action = f"health_status: {checks.health.status}"
            self._journal.container(action, self.container)

    def _keep(self, stream: str, content: bytes) -> None:
        if self._log is None:
            self._log = _log_writer(self.container, self._records)
        self._log.write(stream, content)

    def _on_output(self, stream: str, content: bytes) -> None:
        self._keep(stream, content)
        if self._local is not None:
            self._write_local(stream, content)
        self._clients.send(frames.STDOUT if stream == "stdout" else frames.STDERR, content)
        if self._clients.is_congested and self._streams is not None:
            self._streams.pause()

    def _write_local(self, stream: str, content: bytes) -> None:
        if self._local is None:
            return
        fd = self._local.stdout if stream == "stdout" else self._local.stderr
        if fd >= 0 and not show(fd, content):  # the reader is gone; the container goes on
            if stream == "stdout":
                self._local = self._local._replace(stdout=-1)
            else:
                self._local = self._local._replace(stderr=-1)

    def _on_flow(self) -> None:
        if self._streams is not None:
            self._streams.resume()

    def _on_input(self, content: bytes) -> None:
        if self._streams is None:
            return
        self._streams.write(content)
        if not self._streams.has_room:
            self._clients.pause_input()
            self._streams.when_room(self._clients.resume_input)

    def _on_input_end(self) -> None:
        if self._streams is not None and self.container.is_stdin_once:
            self._streams.end_input()

    def _on_resize(self, rows: int, columns: int) -> None:
        self._console_size = (rows, columns)
        if self._streams is not None and self._streams.console >= 0:
            from builder.sandbox.console import set_size

            set_size(self._streams.console, rows, columns)

    def _save(self, **changes: object) -> None:
        self._state = self._state._replace(**changes)  # type: ignore[arg-type]
        self._records.save_state(self.container.id, self._state)

    def _save_end(self, **changes: object) -> None:
        """Give everything back before the state says so: the next start takes the same names."""
        self._runtime.release(is_deferred=self._local is not None)
        self._save(**changes, pid=0, ticks=0)


def _log_writer(container: Container, records: Records) -> "LogWriter":
    from builder.containers.logs import FILE, LogWriter

    options = dict(container.request.log_options)
    path = records.path(container.id, FILE)
    if container.request.log_driver == "none":
        path = os.devnull
    return LogWriter(
        path,
        max_bytes=_size(options.get("max-size", "0")),
        max_files=max(1, int(options.get("max-file", "1"))),
    )


def _size(text: str) -> int:
    digits = text.rstrip("bBkKmMgG")
    unit = text[len(digits) :].lower().removesuffix("b")
    return int(digits or "0") << {"k": 10, "m": 20, "g": 30}.get(unit, 0)
