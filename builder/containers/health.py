"""Health checks: a command run in the container now and then, and what its results add up to."""

import os
from collections.abc import Callable

from builder.containers.exec_spec import exec_spec
from builder.containers.model import Health, HealthEntry, now
from builder.containers.runtime import Plan
from builder.errors import BuilderError
from builder.kernel.cgroups import Cgroup
from builder.kernel.loop import READABLE, Loop
from builder.oci.config import Healthcheck
from builder.sandbox.launch import Sandbox, Started
from builder.sandbox.spec import SandboxSpec

_NANOSECONDS = 1e9
_DEFAULT_INTERVAL_S = 30.0
_DEFAULT_TIMEOUT_S = 30.0
_DEFAULT_START_INTERVAL_S = 5.0
_DEFAULT_RETRIES = 3
_KEPT_ENTRIES = 5
_KEPT_OUTPUT_BYTES = 4096
_DEFAULT_SHELL = ("/bin/sh", "-c")
_TIMED_OUT = -1


class HealthChecks:
    """The checks of one run of a container, within the monitor's loop."""

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        pid: int,
        cgroup: Cgroup | None,
        changed: Callable[["HealthChecks"], None],
    ) -> None:
        """Begin; the first check comes after one interval. `changed` hears of every result."""
        self.health = Health()
        self._loop = loop
        self._plan = plan
        self._pid = pid
        self._cgroup = cgroup
        self._changed = changed
        self._check = plan.container.config.healthcheck or Healthcheck(())
        self._probe: _Probe | None = None
        self._is_starting = self._check.start_period_ns > 0
        self._start_timer = 0
        if self._is_starting:
            seconds = self._check.start_period_ns / _NANOSECONDS
            self._start_timer = loop.after(seconds, self._end_of_start)
        self._timer = loop.after(self._interval_s(), self._run)
        changed(self)

    def stop(self) -> None:
        """End a check in progress and make no more."""
        self._loop.cancel(self._timer)
        self._loop.cancel(self._start_timer)
        if self._probe is not None:
            self._probe.abandon()
            self._probe = None

    def _interval_s(self) -> float:
        if self._is_starting:
            return _seconds(self._check.start_interval_ns, _DEFAULT_START_INTERVAL_S)
        return _seconds(self._check.interval_ns, _DEFAULT_INTERVAL_S)

    def _end_of_start(self) -> None:
        self._is_starting = False

    def _argv(self) -> tuple[str, ...]:
        kind, *words = self._check.test
        if kind == "CMD":
            return tuple(words)
        shell = self._plan.container.config.shell or _DEFAULT_SHELL
        return (*shell, *words)

    def _run(self) -> None:
        start = now()
        timeout_s = _seconds(self._check.timeout_ns, _DEFAULT_TIMEOUT_S)

        def done(code: int, output: bytes) -> None:
            self._probe = None
            self._take(HealthEntry(start, now(), code, output.decode("utf-8", "replace")))

        try:
            spec = exec_spec(self._plan, self._argv(), pid=self._pid, cgroup=self._cgroup)
            self._probe = _Probe(self._loop, spec, timeout_s, done)
        except BuilderError as error:
            done(_TIMED_OUT, error.what.encode())

    def _take(self, entry: HealthEntry) -> None:
        self.health = judged(
            self.health,
            entry,
            retries=self._check.retries or _DEFAULT_RETRIES,
            is_starting=self._is_starting,
        )
        if entry.exit_code == 0:
            self._is_starting = False
        self._timer = self._loop.after(self._interval_s(), self._run)
        self._changed(self)


def judged(health: Health, entry: HealthEntry, *, retries: int, is_starting: bool) -> Health:
    """Add one result. Failures while starting do not count; any success means healthy."""
    log = (*health.log, entry)[-_KEPT_ENTRIES:]
    if entry.exit_code == 0:
        return Health("healthy", 0, log)
    if is_starting and health.status == "starting":
        return health._replace(log=log)
    streak = health.failing_streak + 1
    status = "unhealthy" if streak >= retries else health.status
    return Health(status, streak, log)


class _Probe:
    """One run of the check."""

    def __init__(
        self,
        loop: Loop,
        spec: SandboxSpec,
        timeout_s: float,
        done: Callable[[int, bytes], None],
    ) -> None:
        from builder.sandbox.direct import launch_direct

        self._loop = loop
        self._done = done
        self._output = bytearray()
        self._code: int | None = None
        self._reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._sandbox: Sandbox = launch_direct(spec, null, writing, writing)
            self._started: Started = self._sandbox.started()
        except BaseException:
            os.close(self._reading)
            raise
        finally:
            os.close(writing)
            os.close(null)
        self._timer = loop.after(timeout_s, lambda: self._end(_TIMED_OUT))
        loop.watch(self._reading, READABLE, self._read)
        loop.watch(self._sandbox.fileno(), READABLE, self._ended)

    def abandon(self) -> None:
        """End it without a result."""
        self._loop.cancel(self._timer)
        self._loop.unwatch(self._reading)
        self._loop.unwatch(self._sandbox.fileno())
        self._sandbox.close()
        os.close(self._reading)

    def _read(self) -> None:
        try:
            content = os.read(self._reading, _KEPT_OUTPUT_BYTES)
        except BlockingIOError:
            return
        if not content:
            self._loop.unwatch(self._reading)
        self._output += content[: _KEPT_OUTPUT_BYTES - len(self._output)]

    def _ended(self) -> None:
        ended = self._sandbox.wait()
        self._read_rest()
        self._end(ended.status if ended is not None else _TIMED_OUT)

    def _read_rest(self) -> None:
        try:
            content = os.read(self._reading, _KEPT_OUTPUT_BYTES)
        except BlockingIOError:
            return
        self._output += content[: _KEPT_OUTPUT_BYTES - len(self._output)]

    def _end(self, code: int) -> None:
        if code == _TIMED_OUT:
            self._output += b"health check exceeded its timeout"
        self.abandon()
        self._done(code, bytes(self._output))


def _seconds(nanoseconds: int, default: float) -> float:
    return nanoseconds / _NANOSECONDS if nanoseconds > 0 else default
