"""The use cases of networks: create, remove, connect, describe."""

import os
from collections.abc import Callable, Mapping, Sequence

from builder.containers.creation import Workplace
from builder.containers.inspection import endpoints_of
from builder.containers.listing import has_label
from builder.containers.model import Connection, now
from builder.containers.records import Record
from builder.errors import BuilderError, Conflict, NotFound, UsageError
from builder.networks import bridge
from builder.networks.model import PREDEFINED, Endpoint, Network
from builder.values import NamedTuple

_MTU_OPTION = "com.docker.network.driver.mtu"
_DRIVERS = ("bridge",)


class NetworkRequest(NamedTuple):
    """The flags of `network create`."""

    name: str
    driver: str = "bridge"
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    is_internal: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    reserved: tuple[tuple[str, str], ...] = ()


def create(place: Workplace, request: NetworkRequest) -> Network:
    """Make a network; the bridge device comes with its first container.

    Raises UsageError.
    """
    if request.driver not in _DRIVERS:
        raise UsageError(f"there is no network driver {request.driver!r}", fix="use bridge")
    identifier = os.urandom(32).hex()
    mtu = dict(request.options).get(_MTU_OPTION, "0")
    if not mtu.isdigit():
        raise UsageError(f"{mtu!r} is not an MTU")
    network = place.networks.create(
        Network(
            identifier,
            request.name,
            created=now(),
            subnet=request.subnet,
            gateway=request.gateway,
            ip_range=request.ip_range,
            is_internal=request.is_internal,
            labels=request.labels,
            options=request.options,
            bridge=f"br-{identifier[:12]}",
            mtu=int(mtu),
            reserved=request.reserved,
            is_subnet_chosen=bool(request.subnet),
        )
    )
    _record(place, "create", network)
    return network


def remove(place: Workplace, name: str) -> Network:
    """Remove a network that no running container uses."""
    network = place.networks.get(name)
    place.networks.remove(network)
    _record(place, "destroy", network)
    return network


def listed(place: Workplace, filters: Mapping[str, Sequence[str]]) -> list[Network]:
    """List the networks that pass; raise UsageError for an unknown filter."""
    known = {"name", "id", "driver", "label", "type", "scope", "dangling"}
    for key in filters:
        if key not in known:
            raise UsageError(f"there is no filter {key!r}", fix="use name, id, driver or label")
    return [network for network in place.networks.known() if _passes(place, network, filters)]


def prune(place: Workplace, filters: Mapping[str, Sequence[str]]) -> list[str]:
    """Remove the networks that no container is made for; their names."""
    wanted = {name for record in place.records.all() for name in record.container.networks}
    removed = []
    for network in place.networks.known():
        is_used = network.name in wanted or bool(place.networks.endpoints(network))
        has_labels = all(has_label(network.labels, label) for label in filters.get("label", ()))
        if network.name in PREDEFINED or is_used or not has_labels:
            continue
        try:
            removed.append(remove(place, network.name).name)
        except BuilderError:
            continue  # a container came in between
    return removed


def connect(place: Workplace, name: str, record: Record, connection: Connection) -> None:
    """Connect a container to one more network, at once if it runs; raise Conflict."""
    container, state = record
    network = place.networks.get(name)
    connection = connection._replace(network=network.name)
    if network.name in container.networks or (network.name == "bridge" and not container.networks):
        raise Conflict(f"container {container.name} is in network {network.name} already")
    mode = (container.networks or ("bridge",))[0]
    if mode in {"host", "none"} or mode.startswith("container:") or network.driver != "bridge":
        raise Conflict(f"network {network.name} cannot be combined with network {mode}")
    with place.records.locked(container.id):
        if state.is_alive and state.pid:
            _plug(place, record, connection)
        place.records.save(
            container._replace(
                networks=(*(container.networks or ("bridge",)), network.name),
                connections=(*container.connections, connection),
            )
        )
    _record(place, "connect", network, container=container.id)


def disconnect(place: Workplace, name: str, record: Record) -> None:
    """Take a container out of a network, at once if it runs; raise NotFound."""
    container = record.container
    network = place.networks.get(name)
    names = container.networks or ("bridge",)
    if network.name not in names:
        raise NotFound(f"container {container.name} is not connected to network {network.name}")
    with place.records.locked(container.id):
        for found, endpoint in endpoints_of(place, container):
            if found.name == network.name:
                bridge.disconnect(place.networks, endpoint)
        place.records.save(
            container._replace(
                networks=tuple(n for n in names if n != network.name) or ("none",),
                connections=tuple(c for c in container.connections if c.network != network.name),
            )
        )
    _record(place, "disconnect", network, container=container.id)


def inspected(place: Workplace, name: str) -> dict[str, object]:
    """Describe a network as Docker's API does."""
    network = place.networks.get(name)
    config = {"Subnet": network.subnet, "Gateway": network.gateway, "IPRange": network.ip_range}
    if network.reserved:
        config = {**config, "AuxiliaryAddresses": dict(network.reserved)}  # type: ignore[dict-item]
    present = [{key: value for key, value in config.items() if value}] if network.subnet else []
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": network.created,
        "Scope": "local",
        "Driver": network.driver,
        "EnableIPv6": False,
        "IPAM": {"Driver": "default", "Options": None, "Config": present},
        "Internal": network.is_internal,
        "Attachable": False,
        "Ingress": False,
        "ConfigFrom": {"Network": ""},
        "ConfigOnly": False,
        "Containers": {
            endpoint.owner: {
                "Name": endpoint.owner_name,
                "EndpointID": endpoint.endpoint_id,
                "MacAddress": endpoint.mac,
                "IPv4Address": f"{endpoint.address}/{endpoint.prefix_length}",
                "IPv6Address": "",
            }
            for endpoint in place.networks.endpoints(network)
        },
        "Options": dict(network.options),
        "Labels": dict(network.labels),
    }


def _plug(place: Workplace, record: Record, connection: Connection) -> None:
    """Give a running container an interface; its monitor takes it away at the end."""
    container, state = record
    taken = {endpoint.interface for _network, endpoint in endpoints_of(place, container)}
    interface = next(f"eth{n}" for n in range(len(taken) + 1) if f"eth{n}" not in taken)
    namespace = os.open(f"/proc/{state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        bridge.connect(
            place.networks,
            connection.network,
            Endpoint(
                network="",
                network_id="",
                owner=container.id,
                owner_name=container.name,
                endpoint_id=os.urandom(32).hex(),
                address=connection.ip,
                prefix_length=0,
                gateway="",
                mac="",
                interface=interface,
                host_interface="",
                aliases=(*connection.aliases, container.hostname),
                pid=state.monitor_pid,
                start_ticks=state.monitor_ticks,
            ),
            namespace,
        )
    finally:
        os.close(namespace)


def _passes(place: Workplace, network: Network, filters: Mapping[str, Sequence[str]]) -> bool:
    tests: Mapping[str, Callable[[str], bool]] = {
        "name": lambda value: value in network.name,
        "id": network.id.startswith,
        "driver": lambda value: value == network.driver,
        "label": lambda value: has_label(network.labels, value),
        "scope": lambda value: value == "local",
        "type": lambda value: (value == "builtin") == (network.name in PREDEFINED),
        "dangling": lambda value: (value in {"1", "true"}) == _is_dangling(place, network),
    }
    for key, values in filters.items():
        results = [bool(tests[key](value)) for value in values]
        if not (all(results) if key == "label" else any(results)):
            return False
    return True


def _is_dangling(place: Workplace, network: Network) -> bool:
    return network.name not in PREDEFINED and not place.networks.endpoints(network)


def _record(place: Workplace, action: str, network: Network, **more: str) -> None:
    attributes = {"name": network.name, "type": network.driver, **more}
    place.journal.record("network", action, network.id, attributes)
