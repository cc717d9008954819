"""Putting a monitor in charge: this very process, or one of its own that outlives the command."""

import os
from _socket import AF_UNIX, SOCK_STREAM, socketpair
from _socket import socket as _socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from signal import SIG_DFL, SIGHUP, SIGINT, SIGQUIT, SIGTERM
from signal import signal as set_signal
from typing import TYPE_CHECKING

from builder.containers.model import Container
from builder.containers.monitor import RESTARTED, Begun, Local, Monitor
from builder.containers.network import NetworkPlan
from builder.containers.runtime import Plan, Runtime
from builder.errors import BuilderError, KernelError, StartError
from builder.kernel.namespaces import Privileges

if TYPE_CHECKING:
    from builder.containers.creation import Workplace

_PROXIED = (1, 2, 3, 10, 12, 14, 15, 18, 20, 21, 22, 28)
"""HUP INT QUIT USR1 USR2 ALRM TERM CONT TSTP TTIN TTOU WINCH: what a caller may mean for it."""
_MAX_FD = 1 << 16


def supervise(
    monitor: Monitor, local: Local, ended: Callable[[], None], begun: Begun | None = None
) -> int:
    """Run a container in this process, in the foreground; its exit status.

    The signals that the caller gets go to the container meanwhile. `ended` is called in any case,
    also after StartError, which says that it did not start. One that has `begun` is not started.
    """
    try:
        with _proxied(monitor) if local.is_sig_proxy else _unproxied():
            return monitor.run(_nothing, ended, begun)
    except BuilderError:
        ended()
        raise


def hand_over(
    place: "Workplace",
    plan: Plan,
    *,
    is_attached: bool,
    console_size: tuple[int, int] = (0, 0),
    warnings: list[str],
) -> "_socket | None":
    """Start a container under a monitor of its own; return once it runs.

    With `is_attached` the result is a connection to the monitor that misses no output. Raises the
    monitor's StartError.
    """
    if not is_attached:
        _apart(place, lambda teller: _monitor(place, plan, (), console_size, teller), (), warnings)
        return None
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM)
    try:
        _apart(
            place,
            lambda teller: _monitor(place, plan, (theirs,), console_size, teller),
            (theirs.fileno(),),
            warnings,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return ours


def started_apart(place: "Workplace", body: Callable[[Callable[[], None]], None]) -> None:
    """Run something in a process of its own; return when it calls what it is given.

    Raises StartError if it fails before.
    """
    _apart(place, lambda teller: body(teller.tell), (), [])


def _apart(
    place: "Workplace",
    body: "Callable[[_Teller], None]",
    kept: tuple[int, ...],
    warnings: list[str],
) -> None:
    """Fork a process that outlives this one and wait for its first word."""
    place.store.database.close()  # SQLite must not be carried over a fork; it opens again by itself
    reading, writing = os.pipe2(os.O_CLOEXEC)
    middle = os.fork()
    if middle == 0:
        teller = _Teller(writing)
        try:
            place.store.forget()
            _detach({writing, *kept})
            body(teller)
        except BuilderError as error:
            teller.tell(error)
        except BaseException as error:  # noqa: BLE001 - the process boundary
            _save_traceback(place.store.path("crashes"))
            teller.tell(StartError(f"the container's monitor has a bug: {error!r}"))
        finally:
            os._exit(0)
    os.close(writing)
    try:
        os.waitpid(middle, 0)
        _check_started(reading, warnings)
    finally:
        os.close(reading)


def _monitor(
    place: "Workplace",
    plan: Plan,
    clients: tuple[_socket, ...],
    console_size: tuple[int, int],
    teller: "_Teller",
) -> None:
    """Be the monitor; nothing of this process is left afterwards."""
    container, root = plan.container, place.store.root
    monitor = Monitor(
        runtime_of(place, plan, teller.warnings.append),
        place.records,
        place.journal,
        clients=clients,
        console_size=console_size,
    )

    def ended() -> None:
        is_kept = place.records.is_marked(container.id, RESTARTED)
        if container.request.is_removed and not is_kept:
            _remove_anew(root, plan.privileges, container)

    try:
        monitor.run(teller.tell, ended)
    except BuilderError as error:
        ended()
        teller.tell(error)


class _Teller:
    """Tells the waiting command, once, how the start went."""

    def __init__(self, fd: int) -> None:
        self.warnings: list[str] = []
        self._fd = fd

    def tell(self, error: BuilderError | None = None) -> None:
        from builder import jsonvalues

        if self._fd < 0:
            return
        what, status, fix = ("", 0, "")
        if error is not None:
            what, status, fix = error.what, error.exit_status, error.fix or ""
        message = jsonvalues.dumps((what, status, fix, self.warnings))
        try:
            os.write(self._fd, message.encode("utf-8", "surrogateescape"))
        except OSError:
            pass  # nobody waits any more
        finally:
            os.close(self._fd)
            self._fd = -1


def _remove_anew(root: str, privileges: Privileges, container: Container) -> None:
    from builder.containers.creation import remove, workplace
    from builder.store.store import Store

    try:
        with Store.open(root, privileges) as store:
            remove(workplace(store), container, with_volumes=True)
            store.sync_later()
    except BuilderError:
        return  # the next command that looks finds an ended container


def _save_traceback(directory: str) -> None:
    """Leave a trace of a bug where those of commands are: nobody sees a monitor's errors."""
    import traceback

    path = os.path.join(directory, f"monitor-{os.getpid()}.txt")
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            traceback.print_exc(file=file)
    except OSError:
        return


def _detach(keep: set[int]) -> None:
    """Leave the caller's session and terminal, working directory and descriptors."""
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    os.chdir("/")
    for number in (SIGINT, SIGTERM, SIGHUP, SIGQUIT):
        set_signal(number, SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    kept = sorted(keep | {0, 1, 2})
    for low, high in zip(kept, [*kept[1:], _MAX_FD], strict=True):
        os.closerange(low + 1, high)


def _check_started(reading: int, warnings: list[str]) -> None:
    from builder import jsonvalues

    parts = []
    while part := os.read(reading, 1 << 16):
        parts.append(part)
    if not parts:
        raise StartError("the container's monitor died while it started")
    text = b"".join(parts).decode("utf-8", "surrogateescape")
    told = jsonvalues.decode(tuple[str, int, str, tuple[str, ...]], jsonvalues.loads(text))
    what, status, fix, warned = told
    warnings.extend(warned)
    if what:
        raise StartError(what, status=status if status > 1 else 125, fix=fix or None)


def runtime_of(place: "Workplace", plan: Plan, warn: Callable[[str], None]) -> Runtime:
    """Make a container's surroundings, with the parts of a store."""
    network = NetworkPlan(place.store.root, plan.privileges.is_root, warn)
    return Runtime(plan, place.records, network)


@contextmanager
def _proxied(monitor: Monitor) -> Iterator[None]:
    before = {}
    for number in _PROXIED:
        try:
            before[number] = set_signal(number, monitor.proxy_signal)
        except (OSError, ValueError) as error:
            raise KernelError("signal", 22, str(number)) from error
    try:
        yield
    finally:
        for number, handler in before.items():
            set_signal(number, SIG_DFL if handler is None else handler)


@contextmanager
def _unproxied() -> Iterator[None]:
    yield


def _nothing() -> None:
    return
