"""From a container to the sandbox that runs it. Pure but for reading seccomp profiles.

Descriptors that the sandbox needs (namespaces of others, our own network namespace) are collected
beside the specification, which names them by position.
"""

import os
from typing import Literal

from builder.containers.assembly import argv_of, process_environment
from builder.containers.model import Container, MountPoint
from builder.containers.profiles import default_profile
from builder.containers.request import ContainerRequest, Resources
from builder.errors import BuilderError, StartError, UsageError
from builder.kernel import capabilities
from builder.kernel.cgroup_limits import DeviceRate, Limits
from builder.kernel.ids import Identity
from builder.kernel.namespaces import Privileges
from builder.kernel.rlimits import NUMBERS
from builder.sandbox import spec as sandbox
from builder.store.snapshotter import Active
from builder.values import NamedTuple

_NANO_CPUS = 1_000_000_000
_PERIOD_US = 100_000
_NETWORK_SYSCTLS = (
    ("net.ipv4.ping_group_range", "0 2147483647"),
    ("net.ipv4.ip_unprivileged_port_start", "0"),
)
_IPC_SYSCTLS = ("kernel.msg", "kernel.sem", "kernel.shm", "fs.mqueue.")
_ETC_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_SECCOMP_MAX_BYTES = 8 << 20


class Surroundings(NamedTuple):
    """What a container finds that is not its own: made or looked up just before each start.

    Namespaces are "private", "host", or descriptors.
    """

    active: Active
    identity: Identity
    privileges: Privileges
    root: str
    """The state directory, where compiled filters are kept."""
    network: int | str = "none"
    pid: int | str = "private"
    ipc: int | str = "private"
    etc: tuple[str, str, str] = ("", "", "")
    """The texts of hostname, hosts and resolv.conf."""
    cgroup: tuple[str, ...] = ()
    """The `cgroup.procs` files to join by."""
    image_mounts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(target, lowers) of mounts of type image."""
    console_size: tuple[int, int] = (0, 0)


class Security(NamedTuple):
    """The words of --security-opt, understood."""

    no_new_privileges: bool = False
    seccomp: str = ""
    """A path, `unconfined`, or empty for the default profile."""
    has_masks: bool = True


def sandbox_spec(
    container: Container, around: Surroundings
) -> tuple[sandbox.SandboxSpec, tuple[int, ...]]:
    """Put the specification together; raise StartError or UsageError if it makes no sense."""
    request, config = container.request, container.config
    fds: list[int] = []
    capability_mask = _capabilities(request)
    security = parse_security(request.security_options)
    is_masked = security.has_masks and not request.is_privileged
    return (
        sandbox.SandboxSpec(
            root=_root(around, is_volatile=request.is_removed),
            argv=argv_of(config),
            env=process_environment(
                config,
                hostname=container.hostname,
                home=around.identity.home,
                is_tty=request.is_tty,
            ),
            cwd=config.working_dir or "/",
            uid=around.identity.uid,
            gid=around.identity.gid,
            groups=around.identity.groups,
            mounts=_mounts(container, around),
            hostname="" if request.uts_mode == "host" else container.hostname,
            domainname=request.domainname,
            network=_network(around.network, fds),
            pid=_namespace(around.pid, fds),
            ipc=_namespace(around.ipc, fds),
            uts="host" if request.uts_mode == "host" else "private",
            cgroup=_cgroup_namespace(request),
            capabilities=capability_mask,
            seccomp=_seccomp(
                request,
                security,
                capability_mask,
                privileges=around.privileges,
                root=around.root,
            ),
            masked_paths=sandbox.MASKED_PATHS if is_masked else (),
            read_only_paths=sandbox.READ_ONLY_PATHS if is_masked else (),
            devices=tuple(sandbox.Device(d.source, d.target) for d in request.devices),
            rlimits=_rlimits(request),
            sysctls=_sysctls(request, around),
            is_root_read_only=request.is_read_only,
            no_new_privileges=security.no_new_privileges,
            cgroups=around.cgroup,
            is_tty=request.is_tty,
            console_size=around.console_size,
            with_init=request.is_init,
            oom_score_adj=request.resources.oom_score_adj,
            is_privileged=request.is_privileged,
            shm_size_bytes=request.shm_size_bytes or sandbox.SHM_SIZE_BYTES,
            fake_ownership=around.privileges.is_single_uid,
        ),
        tuple(fds),
    )


class Confinement(NamedTuple):
    """What a further process of a container is held by."""

    capabilities: int
    seccomp: bytes | None
    no_new_privileges: bool


def exec_confinement(
    container: Container, privileges: Privileges, *, root: str, is_privileged: bool
) -> Confinement:
    """Confine like the main process, or not at all if that is asked for."""
    request = container.request
    if is_privileged:
        request = request._replace(
            is_privileged=True, capabilities_added=(), capabilities_dropped=()
        )
    security = parse_security(request.security_options)
    mask = _capabilities(request)
    return Confinement(
        mask,
        _seccomp(request, security, mask, privileges=privileges, root=root),
        security.no_new_privileges,
    )


def limits_of(resources: Resources) -> Limits:
    """Turn the request's numbers into what control groups know."""
    quota, period = resources.cpu_quota_us or 0, resources.cpu_period_us or 0
    if resources.cpus:
        period = period or _PERIOD_US
        quota = int(resources.cpus * period)
    return Limits(
        memory_bytes=resources.memory_bytes or 0,
        memory_swap_bytes=resources.memory_swap_bytes or 0,
        memory_reservation_bytes=resources.memory_reservation_bytes or 0,
        memory_swappiness=resources.memory_swappiness,
        is_oom_kill_disabled=resources.is_oom_kill_disabled,
        cpu_quota_us=quota,
        cpu_period_us=period,
        cpu_shares=resources.cpu_shares or 0,
        cpuset_cpus=resources.cpuset_cpus or "",
        cpuset_mems=resources.cpuset_mems or "",
        pids=0 if resources.pids in {None, 0} else resources.pids or 0,
        blkio_weight=resources.blkio_weight or 0,
        device_rates=tuple(_device_rate(*limit) for limit in resources.device_limits),
    )


def nano_cpus(resources: Resources) -> int:
    """Give --cpus as Docker's inspect shows it."""
    return int((resources.cpus or 0) * _NANO_CPUS)


def parse_security(options: tuple[str, ...]) -> Security:
    """Read the words of --security-opt; raise UsageError for an unknown one."""
    security = Security()
    for option in options:
        name, _, value = option.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges":
            security = security._replace(no_new_privileges=value in {"", "true"})
        elif name == "seccomp":
            security = security._replace(seccomp=value)
        elif name == "systempaths" and value == "unconfined":
            security = security._replace(has_masks=False)
        elif name not in {"label", "apparmor"}:
            raise UsageError(
                f"there is no security option {option!r}",
                fix="use no-new-privileges, seccomp=…, or systempaths=unconfined",
            )
    return security


def _root(around: Surroundings, *, is_volatile: bool) -> sandbox.Overlay | sandbox.Directory:
    """Describe the tree; what goes with the container need never reach the disk.

    An ordinary overlay is synced with all of its file system when it is unmounted.
    """
    active = around.active
    if not active.work:
        return sandbox.Directory(active.upper)
    return sandbox.Overlay(
        active.lowers, active.upper, active.work, is_volatile, around.privileges.userxattr
    )


def _network(network: int | str, fds: list[int]) -> Literal["none", "host"] | int:
    if isinstance(network, str):
        return "host" if network == "host" else "none"
    fds.append(network)
    return len(fds) - 1


def _namespace(namespace: int | str, fds: list[int]) -> sandbox.Namespace:
    if isinstance(namespace, str):
        return "host" if namespace == "host" else "private"
    fds.append(namespace)
    return len(fds) - 1


def _cgroup_namespace(request: ContainerRequest) -> sandbox.Namespace:
    return "host" if request.cgroup_mode == "host" else "private"


def _capabilities(request: ContainerRequest) -> int:
    base = capabilities.ALL if request.is_privileged else sandbox.DEFAULT_CAPABILITIES
    return capabilities.parse(request.capabilities_added, request.capabilities_dropped, base=base)


def _seccomp(
    request: ContainerRequest, security: Security, mask: int, *, privileges: Privileges, root: str
) -> bytes | None:
    is_unconfined = security.seccomp == "unconfined" or request.is_privileged
    if is_unconfined and not privileges.is_single_uid:
        return None
    if security.seccomp and not is_unconfined:
        from builder.kernel import seccomp

        try:
            with open(security.seccomp, "rb") as file:
                return seccomp.compile_profile(file.read(_SECCOMP_MAX_BYTES), mask)
        except OSError as error:
            raise StartError(
                f"the seccomp profile {security.seccomp} cannot be read: {error.strerror}"
            ) from None
    return default_profile(root, mask, fake_ownership=privileges.is_single_uid)


def _rlimits(request: ContainerRequest) -> tuple[sandbox.Rlimit, ...]:
    return tuple(
        sandbox.Rlimit(NUMBERS[limit.name], limit.soft, limit.hard) for limit in request.ulimits
    )


def _sysctls(request: ContainerRequest, around: Surroundings) -> tuple[tuple[str, str], ...]:
    is_own_network = around.network != "host" and not request.is_privileged
    for name, _ in request.sysctls:
        if name.startswith("net.") and around.network != "host":
            continue
        if name.startswith(_IPC_SYSCTLS) and around.ipc != "host":
            continue
        raise UsageError(
            f"the kernel parameter {name!r} is not the container's own",
            fix="set it on the host; a container has net.*, kernel.shm*, kernel.msg*, kernel.sem",
        )
    own = _NETWORK_SYSCTLS if is_own_network and around.privileges.is_root else ()
    return (*own, *request.sysctls)


def _device_rate(kind: str, device: str, limit: int) -> DeviceRate:
    try:
        number = os.stat(device).st_rdev
    except OSError as error:
        raise UsageError(f"the device {device}: {error.strerror}") from None
    match kind:
        case "read-bps":
            return DeviceRate(os.major(number), os.minor(number), "rbps", limit)
        case "write-bps":
            return DeviceRate(os.major(number), os.minor(number), "wbps", limit)
        case "read-iops":
            return DeviceRate(os.major(number), os.minor(number), "riops", limit)
        case _:
            return DeviceRate(os.major(number), os.minor(number), "wiops", limit)


def _mounts(container: Container, around: Surroundings) -> tuple[sandbox.Mount, ...]:
    taken = {point.target for point in container.mounts}
    etc = [
        sandbox.FileMount(
            target,
            content.encode("utf-8", "surrogateescape"),
            0o644,
            is_read_only=container.request.is_read_only,
        )
        for target, content in zip(_ETC_FILES, around.etc, strict=True)
        if target not in taken and content
    ]
    images = dict(around.image_mounts)
    return (*etc, *(_mount(point, images) for point in container.mounts))


def _mount(point: MountPoint, images: dict[str, tuple[str, ...]]) -> sandbox.Mount:
    words = dict(option.partition("=")[::2] for option in point.options)
    if point.type == "tmpfs":
        return _tmpfs(point, words)
    if point.type == "image":
        return sandbox.OverlayMount(
            point.target,
            sandbox.Overlay(images[point.target]),
            sub_path=words.get("subpath", ""),
            is_read_only=True,
        )
    return sandbox.Bind(
        point.target,
        point.source,
        sub_path=words.get("subpath", ""),
        is_read_only=point.is_read_only,
        is_recursive="nonrecursive" not in words,
        propagation=_propagation(words),
    )


def _propagation(words: dict[str, str]) -> Literal["private", "slave", "shared"]:
    if "shared" in words or "rshared" in words:
        return "shared"
    return "slave" if "slave" in words or "rslave" in words else "private"


def _tmpfs(point: MountPoint, words: dict[str, str]) -> sandbox.Tmpfs:
    flags = [flag for flag in ("nosuid", "nodev", "noexec") if flag.removeprefix("no") not in words]
    if point.is_read_only:
        flags.append("ro")
    try:
        mode_bits = int(words.get("mode") or "1777", 8)
        uid, gid = int(words.get("uid", "0")), int(words.get("gid", "0"))
        size_bytes = _size_bytes(words.get("size", "0"))
    except ValueError:
        raise UsageError(f"the options of the tmpfs at {point.target} make no sense") from None
    return sandbox.Tmpfs(point.target, size_bytes, mode_bits, tuple(flags), uid, gid)


def _size_bytes(text: str) -> int:
    digits = text.rstrip("bBkKmMgG")
    unit = text[len(digits) :].lower().removesuffix("b")
    return int(digits) << {"": 0, "k": 10, "m": 20, "g": 30}[unit]


def refuse_unsupported(request: ContainerRequest) -> None:
    """Raise UsageError for what cannot be had, rather than leave it out silently."""
    if request.user_mode not in {"", "host"}:
        raise UsageError(f"--userns {request.user_mode} is not supported", fix="leave it out")
    if request.log_driver not in {"", "json-file", "local", "none"}:
        raise UsageError(f"there is no log driver {request.log_driver!r}", fix="use json-file")
    for mode in (request.pid_mode, request.ipc_mode):
        if mode not in {"", "host", "private", "shareable", "none"} and not mode.startswith(
            "container:"
        ):
            raise UsageError(f"{mode!r} is no mode of a namespace", fix="use host or container:X")
    parse_security(request.security_options)
    try:
        _capabilities(request)
        _rlimits(request)
    except UsageError:
        raise
    except (BuilderError, KeyError, ValueError) as error:
        raise UsageError(str(error)) from None
