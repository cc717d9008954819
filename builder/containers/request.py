"""What `run` and `create` are asked for: docker's flags as plain values, nothing looked up yet."""

from builder.values import NamedTuple

UNLIMITED = -1


class EnvironmentWord(NamedTuple):
    """`K=V`, or a bare `K` that removes the image's variable (`value` None)."""

    name: str
    value: str | None


class MountRequest(NamedTuple):
    """A `-v`, `--mount` or `--tmpfs`, by type: bind, volume, tmpfs or image.

    An empty source of a volume asks for an anonymous one. `options` are type-specific words such
    as `rprivate`, `nocopy`, `z`, `size=64m`, `mode=1777`.
    """

    type: str
    target: str
    source: str = ""
    is_read_only: bool = False
    is_source_created: bool = False
    """Whether a missing bind source is made (`-v` does, `--mount` does not)."""
    options: tuple[str, ...] = ()


class PortRequest(NamedTuple):
    """One container port to publish; `host_port` 0 is any free one."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0
    host_port_end: int = 0
    """The last port of a range to choose from; equal to `host_port` where there is no choice."""


class DeviceRequest(NamedTuple):
    """A device of the host: where it is, where it appears, and how it may be used."""

    source: str
    target: str
    permissions: str = "rwm"


class UlimitRequest(NamedTuple):
    """A resource limit; -1 is unlimited."""

    name: str
    soft: int
    hard: int


class HealthRequest(NamedTuple):
    """Overrides of the image's health check; None keeps the image's value. Units: seconds."""

    command: str | None = None
    interval_s: float | None = None
    timeout_s: float | None = None
    start_period_s: float | None = None
    start_interval_s: float | None = None
    retries: int | None = None
    is_disabled: bool = False


class RestartRequest(NamedTuple):
    """When a container that ended starts again: no, always, on-failure, unless-stopped."""

    policy: str = "no"
    maximum_retries: int = 0


class Resources(NamedTuple):
    """Limits; None leaves the kernel's default. `memory_swap_bytes` is memory and swap together."""

    memory_bytes: int | None = None
    memory_swap_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    memory_swappiness: int | None = None
    is_oom_kill_disabled: bool = False
    oom_score_adj: int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    cpu_period_us: int | None = None
    cpu_quota_us: int | None = None
    cpuset_cpus: str | None = None
    cpuset_mems: str | None = None
    pids: int | None = None
    blkio_weight: int | None = None
    device_limits: tuple[tuple[str, str, int], ...] = ()
    """(`read-bps`, `write-bps`, `read-iops` or `write-iops`, device, limit)."""


class ContainerRequest(NamedTuple):
    """One container to make. Empty texts and tuples mean that nothing was said."""

    image: str
    words: tuple[str, ...] = ()
    """What follows the image: the command, in place of the image's."""
    name: str = ""
    pull: str = "missing"
    platform: str = ""
    entrypoint: str | None = None
    """`--entrypoint`: one word; empty text clears the image's."""
    environment: tuple[EnvironmentWord, ...] = ()
    user: str = ""
    groups: tuple[str, ...] = ()
    workdir: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    is_tty: bool = False
    is_interactive: bool = False
    attached: tuple[str, ...] = ()
    """Streams named by `-a`: stdin, stdout, stderr; empty: the usual ones."""
    is_removed: bool = False
    is_init: bool = False
    stop_signal: str = ""
    stop_timeout_s: int | None = None
    restart: RestartRequest = RestartRequest()
    health: HealthRequest = HealthRequest()
    cidfile: str = ""
    mounts: tuple[MountRequest, ...] = ()
    volumes_from: tuple[str, ...] = ()
    is_read_only: bool = False
    networks: tuple[str, ...] = ()
    """Names; `bridge`, `host`, `none`, `container:X`. Empty: the default."""
    network_aliases: tuple[str, ...] = ()
    ip: str = ""
    ip6: str = ""
    mac_address: str = ""
    ports: tuple[PortRequest, ...] = ()
    exposed: tuple[str, ...] = ()
    is_publishing_all: bool = False
    hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    is_privileged: bool = False
    capabilities_added: tuple[str, ...] = ()
    capabilities_dropped: tuple[str, ...] = ()
    security_options: tuple[str, ...] = ()
    devices: tuple[DeviceRequest, ...] = ()
    device_rules: tuple[str, ...] = ()
    pid_mode: str = ""
    ipc_mode: str = ""
    uts_mode: str = ""
    user_mode: str = ""
    cgroup_mode: str = ""
    cgroup_parent: str = ""
    shm_size_bytes: int | None = None
    sysctls: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[UlimitRequest, ...] = ()
    resources: Resources = Resources()
    log_driver: str = ""
    log_options: tuple[tuple[str, str], ...] = ()
    runtime: str = ""


class Attachment(NamedTuple):
    """The caller's side of a container in the foreground; descriptors belong to the caller."""

    stdin: int | None
    stdout: int
    stderr: int
    is_tty: bool = False
    detach_keys: str = ""
    is_sig_proxy: bool = True
