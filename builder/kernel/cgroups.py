"""Control groups of version 1, version 2, both at once, or none.

One group is one name below the parent `builder`; in version 1 it exists once for each controller.
A limit whose controller the machine lacks is refused, never ignored: whoever asked for it relies
on it. A group that carries no limit is a convenience and may silently be smaller or missing.

Spec: cgroups(7); Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst; runc for the conversions.
"""

import errno
import os
from collections.abc import Callable, Mapping

from builder.errors import Denied, KernelError
from builder.kernel import cgroup_limits
from builder.kernel.cgroup_limits import Limits
from builder.values import NamedTuple

PARENT = "builder"
V1_CONTROLLERS = ("memory", "cpu", "cpuacct", "cpuset", "pids", "freezer", "blkio", "devices")
_V2_WANTED = ("cpu", "memory", "pids", "cpuset", "io")
_MAX_KILL_ROUNDS = 50


class Hierarchies(NamedTuple):
    """Where the controllers are mounted: version 1 by controller, version 2 as one tree or ''."""

    v1: Mapping[str, str]
    v2: str
    v2_controllers: frozenset[str]
    own: Mapping[str, str]
    """The caller's own group by controller of version 1, by '' for version 2."""

    def has(self, controller: str) -> bool:
        """Whether limits of a controller can be set at all."""
        return controller in self.v1 or _v2_name(controller) in self.v2_controllers


def hierarchies() -> Hierarchies:
    """Read the caller's mounts and memberships; never fails, an unreadable /proc means none."""
    v1: dict[str, str] = {}
    v2 = ""
    for line in _read("/proc/self/mountinfo").splitlines():
        fields, _, tail = line.partition(" - ")
        fstype, _, rest = tail.partition(" ")
        if not fstype.startswith("cgroup"):
            continue
        target = _unescaped(fields.split(" ")[4])
        if fstype == "cgroup2":
            v2 = v2 or target
            continue
        for option in rest.rsplit(" ", 1)[-1].split(","):
            if option in V1_CONTROLLERS:
                v1.setdefault(option, target)
    own = {}
    for line in _read("/proc/self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            own[name] = path
    found = frozenset(_read(f"{v2}/cgroup.controllers").split()) if v2 else frozenset()
    return Hierarchies(v1, v2, found, own)


class Usage(NamedTuple):
    """What a group has used; limits are 0 when there is none."""

    cpu_ns: int
    memory_bytes: int
    memory_limit_bytes: int
    pids: int
    read_bytes: int
    written_bytes: int


class Cgroup(NamedTuple):
    """A group that exists: its directory by controller (version 1) and in the one tree (or '')."""

    name: str
    v1: Mapping[str, str]
    v2: str

    @property
    def procs(self) -> tuple[str, ...]:
        """The files into which a process writes `0` to join."""
        paths = dict.fromkeys((*self.v1.values(), self.v2))
        return tuple(f"{path}/cgroup.procs" for path in paths if path)

    def pids(self) -> list[int]:
        """List the members, as seen from the caller's PID namespace."""
        path = self.v2 or self.v1.get("freezer") or next(iter(self.v1.values()), "")
        return [int(pid) for pid in _read(f"{path}/cgroup.procs").split()] if path else []

    def kill(self) -> None:
        """Send SIGKILL to every member, also to those that fork meanwhile."""
        if self.v2 and _try_write(f"{self.v2}/cgroup.kill", "1"):
            return
        for _ in range(_MAX_KILL_ROUNDS):
            pids = [pid for pid in self.pids() if pid > 0]
            if not pids:
                return
            for pid in pids:
                _kill(pid)

    def freeze(self, *, is_frozen: bool) -> bool:
        """Stop or resume every member; False if the machine has no freezer for this group."""
        if "freezer" in self.v1:
            state = "FROZEN" if is_frozen else "THAWED"
            return _try_write(f"{self.v1['freezer']}/freezer.state", state)
        return bool(self.v2) and _try_write(f"{self.v2}/cgroup.freeze", "1" if is_frozen else "0")

    def oom_kills(self) -> int:
        """Count the members that the kernel killed for want of memory."""
        if "memory" in self.v1:
            return _keyed(_read(f"{self.v1['memory']}/memory.oom_control")).get("oom_kill", 0)
        return _keyed(_read(f"{self.v2}/memory.events")).get("oom_kill", 0) if self.v2 else 0

    def usage(self) -> Usage:
        """Read the counters; what the machine does not count is 0."""
        return _usage_v1(self.v1) if "memory" in self.v1 else _usage_v2(self.v2)

    def update(self, limits: Limits) -> None:
        """Change limits; raise Denied if a controller is missing, KernelError if refused."""
        machine = hierarchies()
        check(limits, machine)
        _apply(self, limits)

    def remove(self) -> None:
        """Remove the group's directories; members that are still dying keep theirs.

        Raises KernelError.
        """
        for path in {*self.v1.values(), self.v2} - {""}:
            try:
                os.rmdir(path)
            except OSError as error:
                if error.errno not in {errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY}:
                    raise KernelError("rmdir", error.errno or 0, path) from None


def create(name: str, limits: Limits, *, parent: str = PARENT) -> Cgroup | None:
    """Make a group with limits; None if the machine has no usable hierarchy and none is needed.

    Raises Denied if a limit's controller is missing or may not be used.
    """
    machine = hierarchies()
    check(limits, machine)
    cgroup = Cgroup(name, _create_v1(machine, parent, name), _create_v2(machine, parent, name))
    try:
        _require(cgroup, limits)
        _apply(cgroup, limits)
    except BaseException:
        cgroup.remove()
        raise
    return cgroup if cgroup.v1 or cgroup.v2 else None


def existing(name: str, *, parent: str = PARENT) -> Cgroup | None:
    """Find a group made earlier, by whatever process; None if there is none."""
    machine = hierarchies()
    v1 = {}
    for controller, mount in machine.v1.items():
        for base in _bases(mount, machine.own.get(controller, "/")):
            if os.path.isdir(f"{base}/{parent}/{name}"):
                v1[controller] = f"{base}/{parent}/{name}"
                break
    v2 = ""
    for base in _bases(machine.v2, machine.own.get("", "/")) if machine.v2 else ():
        if os.path.isdir(f"{base}/{parent}/{name}"):
            v2 = f"{base}/{parent}/{name}"
            break
    return Cgroup(name, v1, v2) if v1 or v2 else None


def check(limits: Limits, machine: Hierarchies) -> None:
    """Raise Denied if a limit's controller is missing."""
    for controller in limits.controllers():
        if not machine.has(controller):
            raise Denied(
                f"this machine has no {controller} control group, so the limit cannot be kept",
                fix=f"leave the limit out, or mount the {controller} controller",
            )


def _require(cgroup: Cgroup, limits: Limits) -> None:
    enabled = frozenset(_read(f"{cgroup.v2}/cgroup.controllers").split()) if cgroup.v2 else ()
    for controller in limits.controllers():
        if controller not in cgroup.v1 and _v2_name(controller) not in enabled:
            raise Denied(
                f"the {controller} limit cannot be kept: its control group is not writable here",
                fix="run as root, or delegate the controller to this user's session",
            )


def _create_v1(machine: Hierarchies, parent: str, name: str) -> dict[str, str]:
    made: dict[str, str] = {}
    for controller, mount in machine.v1.items():
        for base in _bases(mount, machine.own.get(controller, "/")):
            path = f"{base}/{parent}/{name}"
            if _make(path, _copy_cpuset if controller == "cpuset" else None):
                made[controller] = path
                break
    return made


def _create_v2(machine: Hierarchies, parent: str, name: str) -> str:
    if not machine.v2 or (machine.v1 and machine.v2_controllers.isdisjoint(_V2_WANTED)):
        return ""  # a hybrid machine keeps its controllers in version 1; membership is pointless
    for base in _bases(machine.v2, machine.own.get("", "/")):
        _enable(base)
        if _make(f"{base}/{parent}", None):
            _enable(f"{base}/{parent}")
            if _make(f"{base}/{parent}/{name}", None):
                return f"{base}/{parent}/{name}"
    return ""


def _bases(mount: str, own: str) -> tuple[str, ...]:
    """Give the places to try: the top, then (delegation) above the own group, then in it."""
    above = os.path.dirname(own)
    return tuple(dict.fromkeys(mount + ("" if at == "/" else at) for at in ("/", above, own) if at))


def _enable(path: str) -> None:
    """Pass the controllers on to children, one by one: one that is refused spoils no other."""
    wanted = set(_read(f"{path}/cgroup.controllers").split()) & set(_V2_WANTED)
    for controller in sorted(wanted - set(_read(f"{path}/cgroup.subtree_control").split())):
        _try_write(f"{path}/cgroup.subtree_control", f"+{controller}")


def _make(path: str, prepare: Callable[[str], None] | None) -> bool:
    for at in (os.path.dirname(path), path):
        try:
            os.mkdir(at, 0o755)
        except FileExistsError:
            continue
        except OSError:
            return False
        if prepare is not None:
            prepare(at)
    return True


def _copy_cpuset(path: str) -> None:
    """Give a new version 1 cpuset its parent's processors: an empty one admits no process."""
    for file in ("cpuset.cpus", "cpuset.mems"):
        _try_write(f"{path}/{file}", _read(f"{os.path.dirname(path)}/{file}").strip())


def _apply(cgroup: Cgroup, limits: Limits) -> None:
    for setting in cgroup_limits.v1(limits) if cgroup.v1 else ():
        if setting.controller in cgroup.v1:
            _write(f"{cgroup.v1[setting.controller]}/{setting.file}", setting)
    for setting in cgroup_limits.v2(limits) if cgroup.v2 else ():
        if _v1_name(setting.file.partition(".")[0]) not in cgroup.v1:
            _write(f"{cgroup.v2}/{setting.file}", setting)


def _write(path: str, setting: cgroup_limits.Setting) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, setting.text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        if setting.is_required or error.errno not in {errno.ENOENT, errno.EOPNOTSUPP}:
            raise KernelError("write", error.errno or 0, f"{setting.text} to {path}") from None


def _try_write(path: str, text: str) -> bool:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _number(path: str) -> int:
    text = _read(path).strip()
    value = int(text) if text.isdigit() else 0
    return value if value < cgroup_limits.UNLIMITED_BYTES else 0


def _keyed(text: str) -> dict[str, int]:
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}  # noqa: PLR2004


def _usage_v1(v1: Mapping[str, str]) -> Usage:
    memory = v1["memory"]
    cache = _keyed(_read(f"{memory}/memory.stat")).get("total_inactive_file", 0)
    moved = {"Read": 0, "Write": 0}
    for line in _read(f"{v1.get('blkio', '')}/blkio.throttle.io_service_bytes").splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in moved:  # noqa: PLR2004 - device, kind, bytes
            moved[words[1]] += int(words[2])
    return Usage(
        _number(f"{v1.get('cpuacct', '')}/cpuacct.usage"),
        max(0, _number(f"{memory}/memory.usage_in_bytes") - cache),
        _number(f"{memory}/memory.limit_in_bytes"),
        _number(f"{v1.get('pids', '')}/pids.current"),
        moved["Read"],
        moved["Write"],
    )


def _usage_v2(v2: str) -> Usage:
    cache = _keyed(_read(f"{v2}/memory.stat")).get("inactive_file", 0)
    moved = {"rbytes": 0, "wbytes": 0}
    for word in _read(f"{v2}/io.stat").split():
        name, _, count = word.partition("=")
        if name in moved and count.isdigit():
            moved[name] += int(count)
    return Usage(
        _keyed(_read(f"{v2}/cpu.stat")).get("usage_usec", 0) * 1000,
        max(0, _number(f"{v2}/memory.current") - cache),
        _number(f"{v2}/memory.max"),
        _number(f"{v2}/pids.current"),
        moved["rbytes"],
        moved["wbytes"],
    )


def _v2_name(controller: str) -> str:
    return {"blkio": "io", "cpuacct": "cpu"}.get(controller, controller)


def _v1_name(controller: str) -> str:
    return "blkio" if controller == "io" else controller


def _unescaped(path: str) -> str:
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, 9)
    except ProcessLookupError:
        return
