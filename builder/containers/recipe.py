"""What it takes to run a container like one that has just run: its program, and texts with gaps.

`cli.instant` carries it out. It knows nothing of containers; so whatever it writes is written here
once, with a mark where each time something else will stand.
"""

import os
from stat import S_ISDIR
from typing import Any

from builder import jsonvalues
from builder.containers.journal import Happening, attributes_of, line_of
from builder.containers.model import Container, State
from builder.containers.names import ADJECTIVES, PLANTS
from builder.containers.request import ContainerRequest
from builder.errors import KernelError
from builder.kernel.mounts import mounted_overlay
from builder.kernel.paths import open_in_root
from builder.networks import resolver
from builder.sandbox import trampoline
from builder.sandbox.command import DEFAULT_PATH
from builder.sandbox.filesystems import NODES
from builder.sandbox.plain import program_of
from builder.sandbox.spec import SandboxSpec, Stub
from builder.store.locks import SWEEP, lock_request
from builder.store.snapshotter import Active
from builder.values import NamedTuple

WATCHED = (resolver.HOST_RESOLV, resolver.UPSTREAM_RESOLV, resolver.HOST_HOSTS)
"""Files of the host that a container in its network gets copies of."""


class Sandbox(NamedTuple):
    """How to start it."""

    trampoline: bytes
    program: bytes
    argv: tuple[str, ...]
    """What follows the trampoline's own arguments."""
    env: dict[str, str]
    root: tuple[int, int, int]
    """Mode, user and group of the writable layer."""


class Papers(NamedTuple):
    """What to write."""

    id: str
    """Of the container that ran: in all texts, and in the program, the mark for the new id."""
    token: bytes
    """What every other mark begins with."""
    name: str
    """Empty for one that is made up of two words."""
    words: tuple[str, str]
    lease: bytes
    sweep: bytes
    """The request for the shared lock under which a lease is taken."""
    config: bytes
    created: bytes
    running: bytes
    exited: bytes
    events: tuple[bytes, bytes, bytes, bytes]
    """create, start, die, destroy."""


class Recipe(NamedTuple):
    """All but what it depends on."""

    nodes: tuple[tuple[str, int], ...]
    """Devices of the host, with their numbers."""
    lowers: tuple[str, ...]
    sandbox: Sandbox
    papers: Papers


def recipe_of(
    container: Container, active: Active, spec: SandboxSpec, stubs: tuple[Stub, ...]
) -> Recipe | None:
    """Write the recipe of a container that ran; None if it is not plain enough for one.

    `spec` and `stubs` are those of its start.
    """
    request = container.request
    if not _is_plain(request) or container.mounts or container.config.healthcheck is not None:
        return None
    path = _command(spec, active)
    program = None if path is None else program_of(spec, stubs, path)
    if program is None or path is None:
        return None
    status = os.stat(active.lowers[0])
    sandbox = Sandbox(
        trampoline.code(os.uname().machine),
        program,
        ("x", path, *spec.argv),
        dict(item.partition("=")[::2] for item in spec.env),
        (status.st_mode & 0o7777, status.st_uid, status.st_gid),
    )
    nodes = tuple((f"/dev/{name}", os.makedev(*numbers)) for name, numbers in NODES.items())
    return Recipe(nodes, active.lowers, sandbox, _papers(container))


def _is_plain(request: ContainerRequest) -> bool:
    """Tell whether a request asks for nothing but what is written into recipes."""
    return not os.path.exists(request.image) and request == ContainerRequest(
        request.image,
        request.words,
        name=request.name,
        pull=request.pull,
        platform=request.platform,
        entrypoint=request.entrypoint,
        environment=request.environment,
        user=request.user,
        groups=request.groups,
        workdir=request.workdir,
        hostname=request.hostname,
        domainname=request.domainname,
        labels=request.labels,
        annotations=request.annotations,
        is_removed=True,
        stop_signal=request.stop_signal,
        stop_timeout_s=request.stop_timeout_s,
        networks=("host",),
        is_read_only=request.is_read_only,
        capabilities_added=request.capabilities_added,
        capabilities_dropped=request.capabilities_dropped,
    )


def _command(spec: SandboxSpec, active: Active) -> str | None:
    """Find the command's file as `sandbox.command` does, from outside; None if that is not plain.

    The program asks whether it may be executed.
    """
    name = spec.argv[0]
    if "/" in name:
        return name
    search = next((item[5:] for item in spec.env if item.startswith("PATH=")), DEFAULT_PATH)
    with mounted_overlay(active.lowers) as root_fd:
        for directory in search.split(":"):
            path = f"{directory}/{name}"
            if not path.startswith("/"):
                return None
            if _is_file(root_fd, path):
                return path
    return None


def _is_file(root_fd: int, path: str) -> bool:
    try:
        fd = open_in_root(root_fd, path)
    except KernelError:
        return False
    try:
        return not S_ISDIR(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def _papers(container: Container) -> Papers:
    token = os.urandom(16).hex()
    marked = container._replace(name=f"{token}name", created=f"{token}created")
    lease = f"i {container.manifest}\n"
    if container.snapshot is not None:
        lease += f"s {container.snapshot}\n"
    return Papers(
        container.id,
        token.encode(),
        container.request.name,
        (ADJECTIVES, PLANTS),
        lease.encode(),
        lock_request(SWEEP, is_shared=True),
        _encoded(marked),
        _state(token, "created"),
        _state(token, "running", ("pid", "ticks"), ("started_at",)),
        _state(token, "exited", ("exit_code",), ("started_at", "finished_at")),
        _events(marked, token),
    )


def _state(
    token: str, status: str, numbers: tuple[str, ...] = (), times: tuple[str, ...] = ()
) -> bytes:
    """Write a state. The mark of a number stands in quotes, and goes with them."""
    numbers += ("monitor_pid", "monitor_ticks")
    marks = {name: f"{token}#{name}" for name in numbers}
    marks |= {name: f"{token}{name}" for name in times}
    return _encoded({**State()._asdict(), **marks, "status": status})


def _events(marked: Container, token: str) -> tuple[bytes, bytes, bytes, bytes]:
    def line(action: str, **more: str) -> bytes:
        now: Any = f"{token}#now"
        attributes = attributes_of(marked, **more)
        return line_of(Happening("container", action, marked.id, attributes, now))

    die = line("die", exitCode=f"{token}exit_code")
    return line("create"), line("start"), die, line("destroy")


def _encoded(value: object) -> bytes:
    return jsonvalues.dumps(value).encode("utf-8", "surrogateescape")
