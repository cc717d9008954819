"""From one state to another: start, stop, kill, pause, remove, wait. For any process to call.

What changes a container's state holds its lock; the monitor writes what came of it.
"""

import os
import select
import time

from builder.containers.attach import wait_for_exit
from builder.containers.clients import dial
from builder.containers.creation import Workplace, remove
from builder.containers.main_process import send
from builder.containers.model import Container, State, has_monitor
from builder.containers.monitor import RESTARTED, STOPPED
from builder.containers.records import PAUSED, Record
from builder.errors import BuilderError, Conflict, NotFound, StoreError
from builder.kernel import cgroups, signals

DEFAULT_STOP_TIMEOUT_S = 10
_KILL_TIMEOUT_S = 30.0
_LISTENING_SOON_S = 0.02
_SIGKILL, _SIGSTOP, _SIGCONT = 9, 19, 18


def stop(place: Workplace, record: Record, *, timeout_s: float | None, signal: str = "") -> None:
    """Ask a container to end, kill it after a while (None: as it says itself; below 0: never)."""
    container, state = record
    if not state.is_alive:
        return
    place.records.mark(container.id, STOPPED, is_set=True)
    if timeout_s is None:
        given = container.request.stop_timeout_s
        timeout_s = DEFAULT_STOP_TIMEOUT_S if given is None else given
    number = signals.parse(signal or container.config.stop_signal or "TERM")
    _send(place, record, number)
    if state.status == "paused":
        unpause(place, place.records.get(container.id))
    if not _wait_gone(place, container, None if timeout_s < 0 else timeout_s):
        _send(place, place.records.get(container.id), _SIGKILL)
        _must_end(place, container)
    place.journal.container("stop", container)


def kill(place: Workplace, record: Record, signal: str = "") -> None:
    """Send a signal, KILL by default; raise Conflict if the container does not run."""
    container, state = record
    if not state.is_alive or not state.pid:
        raise Conflict(
            f"Cannot kill container: {container.name}: container {container.id} is not running"
        )
    number = signals.parse(signal or "KILL")
    if number == _SIGKILL:
        place.records.mark(container.id, STOPPED, is_set=True)
    _send(place, record, number)
    place.journal.container("kill", container, signal=str(number))
    if number == _SIGKILL:
        if state.status == "paused":
            unpause(place, place.records.get(container.id))
        _must_end(place, container)


def pause(place: Workplace, record: Record) -> None:
    """Freeze all processes; raise Conflict unless they run."""
    container, state = record
    if state.status != "running":
        raise Conflict(f"Container {container.name} is {_word(state)}, so it cannot be paused")
    group = group_of(container, state)
    if group is None or not group.freeze(is_frozen=True):
        _signal_all(state.pid, _SIGSTOP)
    place.records.mark(container.id, PAUSED, is_set=True)
    place.journal.container("pause", container)


def unpause(place: Workplace, record: Record) -> None:
    """Let all processes go on; raise Conflict unless they are frozen."""
    container, state = record
    if state.status != "paused":
        raise Conflict(f"Container {container.name} is not paused")
    group = group_of(container, state)
    if group is None or not group.freeze(is_frozen=False):
        _signal_all(state.pid, _SIGCONT)
    place.records.mark(container.id, PAUSED, is_set=False)
    place.journal.container("unpause", container)


def remove_container(
    place: Workplace, record: Record, *, is_forced: bool, with_volumes: bool
) -> None:
    """Remove a container; a running one only if forced, which kills it.

    Raises Conflict.
    """
    container, state = record
    if state.is_alive:
        if not is_forced:
            raise Conflict(
                f"cannot remove container {container.name}: it is {_word(state)}",
                fix="stop the container before removing it, or use -f",
            )
        place.records.mark(container.id, STOPPED, is_set=True)
        _send(place, record, _SIGKILL)
        if state.status == "paused":
            unpause(place, record)
        _must_end(place, container)
    try:
        with place.records.locked(container.id):
            _check_ended(place, container)
            release_leftovers(container, state)
            remove(place, container, with_volumes=with_volumes)
    except NotFound:
        if not is_forced and not container.request.is_removed:
            raise


def wait(place: Workplace, record: Record) -> int:
    """Wait until a container ends; its exit status."""
    container, state = record
    while state.is_alive:
        try:
            status = wait_for_exit(dial(place.records.path(container.id)))
        except (Conflict, FileNotFoundError):
            status = None  # its monitor does not listen yet, or has just ended
        if status is not None:
            return status
        _wait_process(state, _LISTENING_SOON_S)
        try:
            state = place.records.get(container.id).state
        except NotFound:
            break
    return status_of(place, record)


def status_of(place: Workplace, record: Record) -> int:
    """Give the exit status of a container that has ended, and may be removed already."""
    try:
        return place.records.get(record.container.id).state.exit_code
    except NotFound:
        status = place.journal.status_of(record.container.id)
        return record.state.exit_code if status is None else status


def rename(place: Workplace, record: Record, name: str) -> None:
    """Give a container another name."""
    with place.records.locked(record.container.id):
        renamed = place.records.rename(place.records.get(record.container.id).container, name)
    place.journal.container("rename", renamed, oldName=record.container.name)


def group_of(container: Container, state: State) -> cgroups.Cgroup | None:
    """Find the control group of a container that runs."""
    if not state.has_cgroup:
        return None
    parent = container.request.cgroup_parent.strip("/") or cgroups.PARENT
    return cgroups.existing(container.id, parent=parent)


def release_leftovers(container: Container, state: State) -> None:
    """Remove what a monitor that was killed left behind: the control group."""
    group = group_of(container, state)
    if group is not None:
        group.kill()
        group.remove()


def sweep(place: Workplace, *, is_root: bool) -> None:
    """Clean up after monitors that were killed: their containers, control groups and bridges."""
    place.records.sweep_half_made()
    for record in place.records.all():
        container, state = record
        if state.is_alive or not state.monitor_pid or has_monitor(state):
            continue
        release_leftovers(container, state)
        if container.request.is_removed and not place.records.is_marked(container.id, RESTARTED):
            try:
                remove_container(place, record, is_forced=False, with_volumes=True)
            except BuilderError:
                continue  # somebody else was faster
    if is_root and place.networks.has_void_endpoints():
        from builder.networks.bridge import remove_idle

        remove_idle(place.networks)


def _word(state: State) -> str:
    return "running" if state.status == "running" else state.status


def _send(place: Workplace, record: Record, number: int) -> None:
    """Signal the main process; while it waits to start again there is none."""
    state = record.state
    if state.pid:
        send(state, number)
        return
    try:  # wakes a monitor that waits, so that it sees the note
        dial(place.records.path(record.container.id)).close()
    except Conflict:
        return


def _must_end(place: Workplace, container: Container) -> None:
    if not _wait_gone(place, container, _KILL_TIMEOUT_S):
        raise StoreError(
            f"container {container.name} did not end within {_KILL_TIMEOUT_S:g} seconds",
            fix="look for processes of it that wait for a device (state D)",
        )


def _wait_gone(place: Workplace, container: Container, timeout_s: float | None) -> bool:
    """Wait until no process of the container is left and its monitor has said so."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        try:
            state = place.records.get(container.id).state
        except NotFound:
            return True
        if not state.is_alive:
            return True
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return False
        _wait_process(state, left)


def _wait_process(state: State, timeout_s: float | None) -> None:
    """Wait for the end of a container's monitor, but not long at a time."""
    interval_s = 0.25
    try:
        pidfd = os.pidfd_open(state.monitor_pid)
    except OSError:
        return
    try:
        if has_monitor(state):
            wait_s = interval_s if timeout_s is None else min(interval_s, timeout_s)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(wait_s * 1000)
    finally:
        os.close(pidfd)


def _check_ended(place: Workplace, container: Container) -> None:
    if place.records.get(container.id).state.is_alive:
        raise Conflict(f"container {container.name} has been started again")


def _signal_all(pid: int, number: int) -> None:
    """Signal every process that shares the PID namespace of one; for want of a freezer."""
    wanted = os.readlink(f"/proc/{pid}/ns/pid")
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                os.kill(int(name), number)
        except OSError:
            continue
