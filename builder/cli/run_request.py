"""From the options of `run` and `create` to a ContainerRequest."""

from collections.abc import Iterator, Mapping

from builder.cli import values
from builder.cli.mount_values import mounts
from builder.cli.options import Arguments
from builder.cli.port_values import ports
from builder.cli.session import Session
from builder.containers.request import (
    ContainerRequest,
    DeviceRequest,
    EnvironmentWord,
    HealthRequest,
    Resources,
    RestartRequest,
    UlimitRequest,
)
from builder.errors import KernelError, UsageError
from builder.text import nearest

RESTART_POLICIES = ("no", "always", "on-failure", "unless-stopped")
MINIMUM_MEMORY_BYTES = 6 << 20
STREAMS = ("stdin", "stdout", "stderr")
MAX_FILE_BYTES = 8 << 20


def container_request(arguments: Arguments, session: Session) -> ContainerRequest:
    """Read all options; raise UsageError for the first that makes no sense."""
    image, *words = arguments.words
    restart = restart_request(arguments.value("restart"))
    if arguments.flag("rm") and restart.policy != "no":
        raise UsageError("--rm and --restart exclude each other")
    request = ContainerRequest(
        image=image,
        words=tuple(words),
        is_removed=arguments.flag("rm"),
        restart=restart,
        resources=_resources(arguments),
        health=_health(arguments),
        mounts=mounts(arguments, session),
        ports=ports(arguments.values("publish")),
        ulimits=tuple(_ulimit(text) for text in arguments.values("ulimit")),
        devices=tuple(_device(text) for text in arguments.values("device")),
    )
    request = _with_process(request, arguments, session.environ)
    request = _with_network(request, arguments)
    return _with_confinement(request, arguments)


def _with_process(
    request: ContainerRequest, arguments: Arguments, environ: Mapping[str, str]
) -> ContainerRequest:
    attached = tuple(stream.lower() for stream in arguments.values("attach"))
    for stream in attached:
        if stream not in STREAMS:
            raise UsageError(f"there is no stream {stream!r}", fix="use stdin, stdout or stderr")
    timeout = arguments.value("stop-timeout")
    return request._replace(
        name=_text(arguments, "name"),
        pull=arguments.value("pull") or "missing",
        platform=_text(arguments, "platform"),
        entrypoint=arguments.value("entrypoint"),
        environment=tuple(_environment(arguments, environ)),
        user=_text(arguments, "user"),
        groups=arguments.values("group-add"),
        workdir=_text(arguments, "workdir"),
        labels=tuple(_labels(arguments)),
        annotations=_pairs(arguments, "annotation"),
        is_tty=arguments.flag("tty"),
        is_interactive=arguments.flag("interactive"),
        attached=attached,
        is_init=arguments.flag("init"),
        stop_signal=_text(arguments, "stop-signal"),
        stop_timeout_s=None if timeout is None else values.integer(timeout, "--stop-timeout"),
        cidfile=_text(arguments, "cidfile"),
    )


def _with_network(request: ContainerRequest, arguments: Arguments) -> ContainerRequest:
    return request._replace(
        hostname=_text(arguments, "hostname"),
        domainname=_text(arguments, "domainname"),
        networks=arguments.values("network"),
        network_aliases=arguments.values("network-alias"),
        ip=_text(arguments, "ip"),
        ip6=_text(arguments, "ip6"),
        mac_address=_text(arguments, "mac-address"),
        exposed=arguments.values("expose"),
        is_publishing_all=arguments.flag("publish-all"),
        hosts=tuple(_host(text) for text in arguments.values("add-host")),
        dns=arguments.values("dns"),
        dns_search=arguments.values("dns-search"),
        dns_options=arguments.values("dns-option"),
        links=arguments.values("link"),
    )


def _with_confinement(request: ContainerRequest, arguments: Arguments) -> ContainerRequest:
    shm = arguments.value("shm-size")
    return request._replace(
        volumes_from=arguments.values("volumes-from"),
        is_read_only=arguments.flag("read-only"),
        is_privileged=arguments.flag("privileged"),
        capabilities_added=arguments.values("cap-add"),
        capabilities_dropped=arguments.values("cap-drop"),
        security_options=arguments.values("security-opt"),
        device_rules=arguments.values("device-cgroup-rule"),
        pid_mode=_text(arguments, "pid"),
        ipc_mode=_text(arguments, "ipc"),
        uts_mode=_text(arguments, "uts"),
        user_mode=_text(arguments, "userns"),
        cgroup_mode=_text(arguments, "cgroupns"),
        cgroup_parent=_text(arguments, "cgroup-parent"),
        shm_size_bytes=None if shm is None else values.size_bytes(shm),
        sysctls=_pairs(arguments, "sysctl"),
        log_driver=_text(arguments, "log-driver"),
        log_options=_pairs(arguments, "log-opt"),
        runtime=_text(arguments, "runtime"),
    )


def _environment(arguments: Arguments, environ: Mapping[str, str]) -> Iterator[EnvironmentWord]:
    """Give the words of `--env-file`, then of `-e`: a later one wins over an earlier one."""
    for path in arguments.values("env-file"):
        for line in read_lines(path):
            name, equals, value = line.partition("=")
            if not name or any(c.isspace() for c in name):
                raise UsageError(f"{line!r} in {path} is no variable", fix="write NAME=VALUE")
            if equals or name in environ:  # a bare name without value is left out, not removed
                yield EnvironmentWord(name, value if equals else environ[name])
    for text in arguments.values("env"):
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"-e takes NAME or NAME=VALUE, not {text!r}")
        yield EnvironmentWord(name, value if equals else environ.get(name))


def _labels(arguments: Arguments) -> Iterator[tuple[str, str]]:
    files = (line for path in arguments.values("label-file") for line in read_lines(path))
    for text in (*files, *arguments.values("label")):
        name, _, value = text.partition("=")
        if not name:
            raise UsageError(f"--label takes KEY or KEY=VALUE, not {text!r}")
        yield name, value


def read_lines(path: str) -> list[str]:
    """Read a file of `K=V` lines: raw, UTF-8, without comments and empty lines.

    Raises KernelError or UsageError.
    """
    try:
        with open(path, "rb") as opened:
            content = opened.read(MAX_FILE_BYTES)
    except OSError as error:
        raise KernelError("open", error.errno or 0, path) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None
    lines = (line.lstrip().removesuffix("\r") for line in text.split("\n"))
    return [line for line in lines if line and not line.startswith("#")]


def restart_request(text: str | None) -> RestartRequest:
    """Read `no`, `always`, `unless-stopped`, `on-failure[:N]`; raise UsageError."""
    policy, colon, retries = (text or "no").partition(":")
    if policy not in RESTART_POLICIES:
        near = nearest(policy, RESTART_POLICIES)
        fix = f"did you mean {near}?" if near else f"use {', '.join(RESTART_POLICIES)}"
        raise UsageError(f"there is no restart policy {policy!r}", fix=fix)
    if not colon:
        return RestartRequest(policy)
    if policy != "on-failure":
        raise UsageError("only on-failure takes a number of retries")
    return RestartRequest(policy, values.integer(retries, "--restart", minimum=0))


def _health(arguments: Arguments) -> HealthRequest:
    retries = arguments.value("health-retries")
    return HealthRequest(
        command=arguments.value("health-cmd"),
        interval_s=_duration(arguments, "health-interval"),
        timeout_s=_duration(arguments, "health-timeout"),
        start_period_s=_duration(arguments, "health-start-period"),
        start_interval_s=_duration(arguments, "health-start-interval"),
        retries=None if retries is None else values.integer(retries, "--health-retries", minimum=0),
        is_disabled=arguments.flag("no-healthcheck"),
    )


def _resources(arguments: Arguments) -> Resources:
    cpus = arguments.value("cpus")
    resources = Resources(
        memory_bytes=_size(arguments, "memory"),
        memory_swap_bytes=_size(arguments, "memory-swap"),
        memory_reservation_bytes=_size(arguments, "memory-reservation"),
        memory_swappiness=_number(arguments, "memory-swappiness"),
        is_oom_kill_disabled=arguments.flag("oom-kill-disable"),
        oom_score_adj=_number(arguments, "oom-score-adj"),
        cpus=None if cpus is None else values.decimal(cpus, "--cpus"),
        cpu_shares=_number(arguments, "cpu-shares"),
        cpu_period_us=_number(arguments, "cpu-period"),
        cpu_quota_us=_number(arguments, "cpu-quota"),
        cpuset_cpus=arguments.value("cpuset-cpus"),
        cpuset_mems=arguments.value("cpuset-mems"),
        pids=_number(arguments, "pids-limit"),
        blkio_weight=_number(arguments, "blkio-weight"),
        device_limits=tuple(_device_limits(arguments)),
    )
    memory, swap = resources.memory_bytes, resources.memory_swap_bytes
    if memory is not None and 0 < memory < MINIMUM_MEMORY_BYTES:
        raise UsageError("a container needs at least 6 MB of memory")
    if swap is not None and swap > 0 and (memory is None or swap < memory):
        raise UsageError(
            "--memory-swap is memory and swap together, so it cannot be below --memory"
        )
    return resources


def _device_limits(arguments: Arguments) -> Iterator[tuple[str, str, int]]:
    for kind in ("read-bps", "write-bps", "read-iops", "write-iops"):
        for text in arguments.values(f"device-{kind}"):
            device, colon, limit = text.rpartition(":")
            if not colon:
                raise UsageError(f"--device-{kind} takes DEVICE:LIMIT, not {text!r}")
            yield kind, device, values.size_bytes(limit)


def _ulimit(text: str) -> UlimitRequest:
    from builder.cli.build_request import ulimit

    return UlimitRequest(*ulimit(text))


def _host(text: str) -> tuple[str, str]:
    from builder.cli.build_request import host_address

    return host_address(text)


def _device(text: str) -> DeviceRequest:
    source, _, rest = text.partition(":")
    target, _, permissions = rest.partition(":")
    if rest and not rest.startswith("/"):  # /dev/x:rw
        target, permissions = source, rest
    permissions = permissions or "rwm"
    if not source or set(permissions) - set("rwm"):
        raise UsageError(f"--device takes PATH[:PATH[:rwm]], not {text!r}")
    return DeviceRequest(source, target or source, permissions)


def _text(arguments: Arguments, key: str) -> str:
    return arguments.value(key) or ""


def _pairs(arguments: Arguments, key: str) -> tuple[tuple[str, str], ...]:
    return tuple(values.key_value(text, f"--{key}") for text in arguments.values(key))


def _size(arguments: Arguments, key: str) -> int | None:
    text = arguments.value(key)
    if text is None:
        return None
    return -1 if text == "-1" else values.size_bytes(text)


def _number(arguments: Arguments, key: str) -> int | None:
    text = arguments.value(key)
    return None if text is None else values.integer(text, f"--{key}")


def _duration(arguments: Arguments, key: str) -> float | None:
    text = arguments.value(key)
    return None if text is None else values.duration_s(text)
