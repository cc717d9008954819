"""A container as Docker's API describes it: the JSON of `inspect`.

Spec: Docker Engine API v1.45, ContainerInspect.
"""

from collections.abc import Mapping, Sequence

from builder.containers.creation import Workplace
from builder.containers.logs import FILE
from builder.containers.model import Container, Health, MountPoint, State
from builder.containers.records import Record
from builder.containers.request import ContainerRequest
from builder.containers.spec import nano_cpus
from builder.networks.model import Endpoint, Network
from builder.networks.ports import PortBinding
from builder.oci.config import run_config_json

_CONFIG = (
    "Hostname", "Domainname", "User", "AttachStdin", "AttachStdout", "AttachStderr",
    "ExposedPorts", "Tty", "OpenStdin", "StdinOnce", "Env", "Cmd", "Healthcheck", "Image",
    "Volumes", "WorkingDir", "Entrypoint", "OnBuild", "Labels", "StopSignal",
)  # fmt: skip


def inspected(place: Workplace, record: Record) -> dict[str, object]:
    """Describe a container."""
    container, state = record
    path, *arguments = container.argv
    return {
        "Id": container.id,
        "Created": container.created,
        "Path": path,
        "Args": arguments,
        "State": _state(state),
        "Image": container.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": place.records.path(container.id, FILE),
        "Name": f"/{container.name}",
        "RestartCount": state.restart_count,
        "Driver": "overlay2",
        "Platform": container.platform.partition("/")[0],
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config(container),
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "Mounts": [_mount(point) for point in container.mounts],
        "Config": _config(container),
        "NetworkSettings": _network_settings(place, container, state),
    }


def endpoints_of(place: Workplace, container: Container) -> list[tuple[Network, Endpoint]]:
    """List a container's places in networks, in the order of its interfaces."""
    found = [
        (network, endpoint)
        for network in place.networks.known()
        for endpoint in place.networks.endpoints(network)
        if endpoint.owner == container.id
    ]
    return sorted(found, key=lambda pair: pair[1].interface)


def host_config(container: Container) -> dict[str, object]:
    """Describe what was asked of the host."""
    request, resources = container.request, container.request.resources
    return {
        "Binds": [_bind(point) for point in container.mounts if point.type == "bind"] or None,
        "ContainerIDFile": request.cidfile,
        "LogConfig": {
            "Type": request.log_driver or "json-file",
            "Config": dict(request.log_options),
        },
        "NetworkMode": (container.networks or ("default",))[0],
        "PortBindings": _requested_ports(request),
        "RestartPolicy": {
            "Name": request.restart.policy,
            "MaximumRetryCount": request.restart.maximum_retries,
        },
        "AutoRemove": request.is_removed,
        "VolumeDriver": "",
        "VolumesFrom": list(request.volumes_from) or None,
        "CapAdd": list(request.capabilities_added) or None,
        "CapDrop": list(request.capabilities_dropped) or None,
        "CgroupnsMode": request.cgroup_mode or "private",
        "Dns": list(request.dns),
        "DnsOptions": list(request.dns_options),
        "DnsSearch": list(request.dns_search),
        "ExtraHosts": [f"{name}:{address}" for name, address in request.hosts] or None,
        "GroupAdd": list(request.groups) or None,
        "IpcMode": request.ipc_mode or "private",
        "Cgroup": "",
        "Links": list(request.links) or None,
        "OomScoreAdj": resources.oom_score_adj or 0,
        "PidMode": request.pid_mode,
        "Privileged": request.is_privileged,
        "PublishAllPorts": request.is_publishing_all,
        "ReadonlyRootfs": request.is_read_only,
        "SecurityOpt": list(request.security_options) or None,
        "UTSMode": request.uts_mode,
        "UsernsMode": request.user_mode,
        "ShmSize": request.shm_size_bytes or 64 << 20,
        "Runtime": request.runtime or "builder",
        "Sysctls": dict(request.sysctls) or None,
        "Init": request.is_init or None,
        **_limits(container),
        "Mounts": [],
        "MaskedPaths": [],
        "ReadonlyPaths": [],
    }


def _limits(container: Container) -> dict[str, object]:
    resources = container.request.resources
    swap = resources.memory_swap_bytes
    if swap is None:
        swap = 2 * (resources.memory_bytes or 0)
    return {
        "CpuShares": resources.cpu_shares or 0,
        "Memory": resources.memory_bytes or 0,
        "NanoCpus": nano_cpus(resources),
        "CgroupParent": container.request.cgroup_parent,
        "BlkioWeight": resources.blkio_weight or 0,
        "CpuPeriod": resources.cpu_period_us or 0,
        "CpuQuota": resources.cpu_quota_us or 0,
        "CpusetCpus": resources.cpuset_cpus or "",
        "CpusetMems": resources.cpuset_mems or "",
        "Devices": [
            {
                "PathOnHost": device.source,
                "PathInContainer": device.target,
                "CgroupPermissions": device.permissions,
            }
            for device in container.request.devices
        ],
        "DeviceCgroupRules": list(container.request.device_rules) or None,
        "MemoryReservation": resources.memory_reservation_bytes or 0,
        "MemorySwap": swap,
        "MemorySwappiness": resources.memory_swappiness,
        "OomKillDisable": resources.is_oom_kill_disabled,
        "PidsLimit": resources.pids,
        "Ulimits": [
            {"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard}
            for limit in container.request.ulimits
        ]
        or None,
    }


def _state(state: State) -> dict[str, object]:
    described: dict[str, object] = {
        "Status": state.status,
        "Running": state.is_alive,
        "Paused": state.status == "paused",
        "Restarting": state.status == "restarting",
        "OOMKilled": state.is_oom_killed,
        "Dead": state.status == "dead",
        "Pid": state.pid,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": state.started_at,
        "FinishedAt": state.finished_at,
    }
    if state.health is not None:
        described["Health"] = _health(state.health)
    return described


def _health(health: Health) -> dict[str, object]:
    return {
        "Status": health.status,
        "FailingStreak": health.failing_streak,
        "Log": [
            {"Start": e.start, "End": e.end, "ExitCode": e.exit_code, "Output": e.output}
            for e in health.log
        ],
    }


def _mount(point: MountPoint) -> dict[str, object]:
    words = set(point.options)
    described: dict[str, object] = {
        "Type": point.type,
        "Source": point.source,
        "Destination": point.target,
        "Mode": ",".join(sorted(words & {"z", "Z", "nocopy"})),
        "RW": not point.is_read_only,
        "Propagation": "rprivate" if point.type == "bind" else "",
    }
    if point.type == "volume":
        described = {"Type": "volume", "Name": point.name, **described, "Driver": "local"}
    return described


def _bind(point: MountPoint) -> str:
    return f"{point.source}:{point.target}" + (":ro" if point.is_read_only else "")


def _config(container: Container) -> dict[str, object]:
    request = container.request
    present: Mapping[str, object] = {
        **run_config_json(container.config),
        "Hostname": container.hostname,
        "Domainname": request.domainname,
        "AttachStdin": request.is_interactive and container.is_stdin_once,
        "AttachStdout": container.is_stdin_once,
        "AttachStderr": container.is_stdin_once,
        "Tty": request.is_tty,
        "OpenStdin": request.is_interactive,
        "StdinOnce": request.is_interactive and container.is_stdin_once,
        "Image": container.image,
    }
    texts = {"User": "", "WorkingDir": "", "Env": [], "Labels": {}}
    described = {name: present.get(name, texts.get(name)) for name in _CONFIG}
    if described["StopSignal"] is None:
        del described["StopSignal"]
    if described["Healthcheck"] is None:
        del described["Healthcheck"]
    if request.stop_timeout_s is not None:
        described["StopTimeout"] = request.stop_timeout_s
    return described


def _network_settings(place: Workplace, container: Container, state: State) -> dict[str, object]:
    found = endpoints_of(place, container)
    first = found[0][1] if found else None
    is_default = first is not None and first.network == "bridge"
    networks = {network.name: described_endpoint(endpoint) for network, endpoint in found}
    for name in container.networks or ("bridge",):
        if name not in networks and not name.startswith("container:"):
            networks[name] = _unconnected(place, name)
    return {
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": f"/proc/{state.pid}/ns/net" if state.pid else "",
        "Ports": published(state.ports, container.config.exposed_ports if state.pid else ()),
        "EndpointID": first.endpoint_id if first and is_default else "",
        "Gateway": first.gateway if first and is_default else "",
        "IPAddress": first.address if first and is_default else "",
        "IPPrefixLen": first.prefix_length if first and is_default else 0,
        "MacAddress": first.mac if first and is_default else "",
        "Networks": networks,
    }


def described_endpoint(endpoint: Endpoint) -> dict[str, object]:
    """Describe one of NetworkSettings.Networks."""
    return {
        "IPAMConfig": None,
        "Links": None,
        "Aliases": list(endpoint.aliases) or None,
        "NetworkID": endpoint.network_id,
        "EndpointID": endpoint.endpoint_id,
        "Gateway": endpoint.gateway,
        "IPAddress": endpoint.address,
        "IPPrefixLen": endpoint.prefix_length,
        "IPv6Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "MacAddress": endpoint.mac,
        "DriverOpts": None,
    }


def _unconnected(place: Workplace, name: str) -> dict[str, object]:
    known = next((n for n in place.networks.known() if n.name == name), None)
    empty = Endpoint(name, known.id if known else "", "", "", "", "", 0, "", "", "", "")
    return described_endpoint(empty)


def published(
    ports: Sequence[PortBinding], exposed: Sequence[str]
) -> dict[str, list[dict[str, str]] | None]:
    """Write ports by their container's side; None for those that are exposed only."""
    found: dict[str, list[dict[str, str]] | None] = dict.fromkeys(exposed)
    for port in ports:
        listed = found.get(port.key) or []
        listed.append({"HostIp": port.host_ip, "HostPort": str(port.host_port)})
        found[port.key] = listed
    return found


def _requested_ports(request: ContainerRequest) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for port in request.ports:
        host = str(port.host_port) if port.host_port else ""
        key = f"{port.container_port}/{port.protocol}"
        found.setdefault(key, []).append({"HostIp": port.host_ip, "HostPort": host})
    return found
