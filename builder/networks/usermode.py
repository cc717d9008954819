"""Networks without privileges: a program (pasta or slirp4netns) speaks for the namespace.

The program runs outside, as the caller, and moves packets between the namespace's only interface
and ordinary sockets of the host.
"""

import os
import signal

from builder.errors import Denied
from builder.values import NamedTuple

_PROGRAMS = ("pasta", "slirp4netns")
_START_TIMEOUT_S = 10.0
_INTERFACE = "eth0"


class Program(NamedTuple):
    """A running program that carries a namespace's packets."""

    pid: int
    name: str

    def stop(self) -> None:
        """End it and wait for it."""
        try:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return


def find() -> list[tuple[str, str]]:
    """Look for programs on the PATH: name and path of each, the better one first."""
    found = []
    for name in _PROGRAMS:
        for directory in os.get_exec_path():
            path = os.path.join(directory, name)
            if os.access(path, os.X_OK):
                found.append((name, path))
                break
    return found


def start(namespace: int, *, ports: tuple[tuple[str, int, str, int], ...] = ()) -> Program:
    """Give a namespace (descriptor) a way out; raise Denied if no program can.

    Ports to publish are (host address, host port, protocol, container port); pasta's alone.
    """
    failures = []
    os.set_inheritable(namespace, True)  # noqa: FBT003 - the program finds it below /proc/self/fd
    try:
        for name, path in find():
            try:
                if name == "pasta":
                    return _pasta(path, namespace, ports)
                return _slirp(path, namespace)
            except Denied as error:
                failures.append(error.what)
    finally:
        os.set_inheritable(namespace, False)  # noqa: FBT003
    raise Denied(
        "; ".join(failures) or "neither pasta nor slirp4netns is installed",
        fix="install passt, or use --network host or none",
    )


def _pasta(path: str, namespace: int, ports: tuple[tuple[str, int, str, int], ...]) -> Program:
    argv = [path, "--config-net", "--foreground", "--quiet", "-I", _INTERFACE]
    published: dict[str, list[str]] = {"tcp": [], "udp": []}
    for address, port, protocol, inner in ports:
        published[protocol].append(f"{address}/{port}:{inner}")
    argv += ["-t", ",".join(published["tcp"]) or "none", "-u", ",".join(published["udp"]) or "none"]
    argv += ["-T", "none", "-U", "none", "--no-map-gw", "--netns", f"/proc/self/fd/{namespace}"]
    return _ready(Program(_spawn(path, argv), "pasta"), namespace)


def _slirp(path: str, namespace: int) -> Program:
    argv = [path, "--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"]
    argv += [f"/proc/self/fd/{namespace}", _INTERFACE]
    return _ready(Program(_spawn(path, argv), "slirp4netns"), namespace)


def _spawn(path: str, argv: list[str]) -> int:
    quiet = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, quiet, fd) for fd in (0, 1, 2)]
        return os.posix_spawn(path, argv, dict(os.environ), file_actions=actions)
    finally:
        os.close(quiet)


def _ready(program: Program, namespace: int) -> Program:
    """Wait until the namespace has a default route."""
    import time

    from builder.networks.bridge import made_inside
    from builder.networks.netlink import Routes

    end = time.monotonic() + _START_TIMEOUT_S
    with made_inside(namespace, Routes) as routes:
        while not any(length == 0 for _network, length, _index in routes.destinations()):
            pid, status = os.waitpid(program.pid, os.WNOHANG)
            if pid or time.monotonic() > end:
                program.stop()
                code = os.waitstatus_to_exitcode(status) if pid else "no answer"
                raise Denied(f"{program.name} did not set the network up ({code})")
            time.sleep(0.005)
    return program
