"""The networks of a store and their endpoints: small files under one lock.

networks/lock                       held while anything below is changed
networks/<name>/network.json
networks/<name>/endpoints/<address> an Endpoint; void when its holder is dead
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

from builder import jsonvalues
from builder.errors import Conflict, NotFound, UsageError
from builder.networks import ipam
from builder.networks.model import PREDEFINED, Endpoint, Network, check_name, is_held
from builder.networks.netlink import Routes, mac_of, mac_text

DEFAULT = "bridge"
_SYSTEM_ROOT = "/var/lib/builder"
_ID_HEX = 64


class Networks:
    """What networks there are; every method is one short transaction."""

    def __init__(self, root: str) -> None:
        """Keep the place; nothing is made before it is needed."""
        self.state_dir = root
        self._path = os.path.join(root, "networks")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock on all networks of the store."""
        import fcntl

        os.makedirs(self._path, 0o700, exist_ok=True)
        fd = os.open(f"{self._path}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def known(self) -> list[Network]:
        """List all networks, the predefined ones first."""
        try:
            names = sorted(os.listdir(self._path))
        except FileNotFoundError:
            names = []
        found = [network for name in names if (network := self._read(name)) is not None]
        by_name = {network.name: network for network in found}
        first = [
            by_name.pop(name) if name in by_name else self._predefined(name) for name in PREDEFINED
        ]
        return [*first, *by_name.values()]

    def get(self, name_or_id: str) -> Network:
        """Find a network by name, id, or unique beginning of the id; raise NotFound."""
        for network in (networks := self.known()):
            if name_or_id in {network.name, network.id}:
                return network
        matches = [n for n in networks if name_or_id and n.id.startswith(name_or_id)]
        if len(matches) > 1:
            raise Conflict(f"several networks have an id that starts with {name_or_id!r}")
        if not matches:
            raise NotFound(f"network {name_or_id} not found", fix="see `builder network ls`")
        return matches[0]

    def create(self, wanted: Network) -> Network:
        """Add a network; its subnet is chosen unless it has one. Raises Conflict if named twice."""
        check_name(wanted.name, "network")
        with self.locked():
            existing = self.known()
            if any(network.name == wanted.name for network in existing):
                raise Conflict(f"network with name {wanted.name} already exists")
            network = self._addressed(wanted, existing)
            self._write(network)
        return network

    def usable(self, name: str) -> Network:
        """Find a network and make sure that it has addresses; the caller holds the lock.

        The default network gets its subnet here, at its first use, and another one whenever the
        host has come to use the old one itself while no container was connected.
        """
        network = self.get(name)
        if network.driver != "bridge":
            return network
        is_lost = not network.is_subnet_chosen and not self.endpoints(network)
        if network.subnet and not (is_lost and self._is_foreign(network)):
            return network
        others = [other for other in self.known() if other.name != network.name]
        network = self._addressed(network._replace(subnet="", gateway=""), others)
        self._write(network)
        return network

    def remove(self, network: Network) -> None:
        """Forget a network; raise Conflict while containers are connected to it."""
        if network.name in PREDEFINED:
            raise Conflict(f"{network.name} is a pre-defined network and cannot be removed")
        with self.locked():
            if self.endpoints(network):
                raise Conflict(
                    f"network {network.name} has active endpoints",
                    fix="stop or disconnect its containers first",
                )
            directory = f"{self._path}/{network.name}"
            endpoints = f"{directory}/endpoints"
            for name in os.listdir(endpoints) if os.path.isdir(endpoints) else ():
                os.unlink(f"{endpoints}/{name}")
            for path in (endpoints, f"{directory}/network.json", directory):
                _remove(path)

    def endpoints(self, network: Network) -> list[Endpoint]:
        """List the endpoints whose holders live."""
        return [endpoint for endpoint in self.all_endpoints(network) if is_held(endpoint)]

    def all_endpoints(self, network: Network) -> list[Endpoint]:
        """List the endpoints, also those whose holders died without giving them back."""
        directory = f"{self._path}/{network.name}/endpoints"
        try:
            names = sorted(os.listdir(directory))
        except FileNotFoundError:
            return []
        whole = (name for name in names if not name.endswith(jsonvalues.UNFINISHED))
        found = (jsonvalues.read(Endpoint, f"{directory}/{name}") for name in whole)
        return [endpoint for endpoint in found if endpoint is not None]

    def has_void_endpoints(self) -> bool:
        """Tell whether some holder died without giving its endpoint back."""
        return any(
            not is_held(endpoint)
            for network in self.known()
            for endpoint in self.all_endpoints(network)
        )

    def allocate(self, network: Network, wanted: Endpoint) -> Endpoint:
        """Reserve an address for an endpoint; the caller holds the lock.

        Raises Conflict if the wanted address is taken, or none is left.
        """
        subnet = ipam.parse_subnet(network.subnet)
        alive = {ipam.number(e.address): e for e in self.endpoints(network)}
        taken = {*alive, ipam.number(network.gateway)}
        taken.update(ipam.number(address) for _name, address in network.reserved)
        if wanted.address:
            address = ipam.parse_address(wanted.address)
            ipam.check_address(subnet, address)
            if address in taken:
                raise Conflict(f"address {wanted.address} is already in use")
        else:
            address = self._next(network, subnet, taken)
        dotted = ipam.dotted(address)
        endpoint = wanted._replace(
            network=network.name,
            network_id=network.id,
            address=dotted,
            prefix_length=subnet.prefix_length,
            gateway="" if network.is_internal else network.gateway,
            mac=wanted.mac or mac_text(mac_of(dotted)),
        )
        self.save(endpoint)
        return endpoint

    def save(self, endpoint: Endpoint) -> None:
        """Write an endpoint's file anew, as when its holder changed."""
        directory = f"{self._path}/{endpoint.network}/endpoints"
        os.makedirs(directory, 0o700, exist_ok=True)
        jsonvalues.write(endpoint, f"{directory}/{endpoint.address}")

    def release(self, endpoint: Endpoint) -> None:
        """Give an address back; the caller holds the lock."""
        path = f"{self._path}/{endpoint.network}/endpoints/{endpoint.address}"
        current = jsonvalues.read(Endpoint, path)
        if current is not None and current.endpoint_id == endpoint.endpoint_id:
            os.unlink(path)

    def _next(self, network: Network, subnet: ipam.Subnet, taken: set[int]) -> int:
        within = ipam.parse_subnet(network.ip_range) if network.ip_range else None
        for address in ipam.free_addresses(subnet, taken, within=within):
            return address
        raise Conflict(f"network {network.name} has no free address left")

    def _addressed(self, network: Network, others: list[Network]) -> Network:
        used = [ipam.parse_subnet(other.subnet) for other in others if other.subnet]
        if network.driver != "bridge":
            return network
        if network.subnet:
            subnet = ipam.parse_subnet(network.subnet)
            if any(subnet.overlaps(other) for other in used):
                raise Conflict(f"{subnet} overlaps the subnet of another network")
        else:
            subnet = ipam.free_subnet([*used, *host_subnets(except_link=network.bridge)])
        gateway = ipam.default_gateway(subnet)
        if network.gateway:
            gateway = ipam.parse_address(network.gateway)
            if not subnet.holds(gateway):
                raise UsageError(f"gateway {network.gateway} does not belong to {subnet}")
        return network._replace(subnet=str(subnet), gateway=ipam.dotted(gateway))

    def _is_foreign(self, network: Network) -> bool:
        subnet = ipam.parse_subnet(network.subnet)
        return any(subnet.overlaps(o) for o in host_subnets(except_link=network.bridge))

    def _read(self, name: str) -> Network | None:
        return (
            jsonvalues.read(Network, f"{self._path}/{name}/network.json")
            if name != "lock"
            else None
        )

    def _write(self, network: Network) -> None:
        os.makedirs(f"{self._path}/{network.name}", 0o700, exist_ok=True)
        jsonvalues.write(network, f"{self._path}/{network.name}/network.json")

    def _predefined(self, name: str) -> Network:
        stamp = f"{crc32(f'{self.state_dir}/{name}'.encode()):08x}"
        network = Network((stamp * 8)[:_ID_HEX], name, "null" if name == "none" else name)
        if name != DEFAULT:
            return network
        bridge = "builder0" if self.state_dir == _SYSTEM_ROOT else f"builder-{stamp[:7]}"
        return network._replace(bridge=bridge)


def host_subnets(*, except_link: str) -> list[ipam.Subnet]:
    """List the blocks that the host routes or has addresses in, but not by one of its links."""
    with Routes() as routes:
        link = routes.link(except_link) if except_link else None
        ignored = link.ifindex if link else 0
        blocks = [
            (ipam.number(network), length)
            for network, length, index in routes.destinations()
            if length and index != ignored
        ]
        blocks += [
            (ipam.number(found.address), found.prefix_length)
            for found in routes.addresses()
            if found.ifindex != ignored
        ]
    return [ipam.parse_subnet(f"{ipam.dotted(base)}/{min(length, 30)}") for base, length in blocks]


def _remove(path: str) -> None:
    try:
        os.rmdir(path) if os.path.isdir(path) else os.unlink(path)
    except FileNotFoundError:
        return
