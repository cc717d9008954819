"""The bridge driver: a device, a veth pair for each container, a packet filter around them.

A bridge exists as long as it has endpoints: the first connection makes it and the last one that
goes takes it away, so that an idle machine shows no trace of us. Both happen under the lock on
the store's networks.
"""

import os
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from builder.concurrency import Task
from builder.errors import Denied, KernelError
from builder.kernel import syscalls
from builder.networks import ipam
from builder.networks.firewall import Firewall
from builder.networks.model import Endpoint, Network, is_held
from builder.networks.netlink import Routes, interface_mtu, mac_of, own_namespace
from builder.networks.registry import Networks

T = TypeVar("T")
_IP_FORWARD = "/proc/sys/net/ipv4/ip_forward"
_MAX_INTERFACE = 15
_PREFIXES = ("builder-", "br-")


def new_namespace() -> int:
    """Make a network namespace with loopback up; its descriptor. The caller stays where it is."""

    def made() -> int:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        with Routes() as routes:
            routes.set_up("lo")
        return own_namespace()

    return _apart(made)


def made_inside(namespace: int, make: Callable[[], T]) -> T:
    """Make something, such as a socket, in a network namespace; it stays of that namespace."""

    def made() -> T:
        syscalls.setns(namespace, syscalls.CLONE_NEWNET)
        return make()

    return _apart(made)


def _apart(work: Callable[[], T]) -> T:
    """Work in a thread of its own, which may go to another network namespace for good.

    In a user namespace there is no way back to the host's: that one is not ours.
    """
    task = Task(work, ())
    thread = threading.Thread(target=task.run)
    thread.start()
    thread.join()
    while os.path.exists(f"/proc/self/task/{thread.native_id}"):
        os.sched_yield()  # join() returns a little earlier, and a monitor may have one thread only
    result: T = task.result()
    return result


def connect(networks: Networks, name: str, wanted: Endpoint, namespace: int) -> Endpoint:
    """Give a container an interface in a network; the endpoint as it came out.

    Others may connect at the same time: what is reserved under the lock keeps the bridge. Raises
    Denied if the machine cannot do it, Conflict if an address is not free.
    """
    host_interface = f"veth{wanted.endpoint_id[: _MAX_INTERFACE - 4]}"
    with Routes() as routes:
        with networks.locked():
            network = networks.usable(name)
            master = _bridge(routes, network, networks.state_dir)
            endpoint = networks.allocate(network, wanted._replace(host_interface=host_interface))
        try:
            _join(routes, network, endpoint, master=master, namespace=namespace)
        except BaseException:
            disconnect(networks, endpoint)
            raise
    return endpoint


def disconnect(networks: Networks, endpoint: Endpoint, *, is_link_gone: bool = False) -> None:
    """Take an interface away and give its address back; the last one takes the bridge along.

    So too if the state directory is gone meanwhile, which is not made again.
    """
    is_gone = not os.path.isdir(networks.state_dir)
    with nullcontext() if is_gone else networks.locked():
        networks.release(endpoint)
        network = next((n for n in networks.known() if n.name == endpoint.network), None)
        with Routes() as routes:
            if not is_link_gone:
                routes.delete(endpoint.host_interface)
            if network is not None and not networks.endpoints(network):
                _take_down(routes, network)


def remove_idle(networks: Networks) -> None:
    """Remove bridges whose containers all died without saying so; for the start of a command."""
    with networks.locked(), Routes() as routes:
        for network in networks.known():
            for endpoint in networks.all_endpoints(network):
                if not is_held(endpoint):
                    networks.release(endpoint)
            if network.bridge and routes.link(network.bridge) and not networks.endpoints(network):
                _take_down(routes, network)
        for link in routes.links():  # of state directories that were deleted as a whole
            if link.name.startswith(_PREFIXES) and _is_orphan(link.alias):
                _remove(routes, link.name)


def _is_orphan(alias: str) -> bool:
    return alias.startswith("/") and not os.path.exists(f"{alias}/networks")


def _take_down(routes: Routes, network: Network) -> None:
    if routes.link(network.bridge) is None:
        return
    _remove(routes, network.bridge)


def _remove(routes: Routes, name: str) -> None:
    routes.delete(name)
    with Firewall() as firewall:
        firewall.remove(name)


def _bridge(routes: Routes, network: Network, state_dir: str) -> int:
    link = routes.link(network.bridge)
    if link is not None:
        return link.ifindex
    subnet = ipam.parse_subnet(network.subnet)
    try:
        index = routes.add_bridge(network.bridge, mac=mac_of(network.gateway), mtu=_mtu(network))
        try:
            routes.set_alias(index, state_dir)
            routes.add_address(index, network.gateway, subnet.prefix_length)
            with Firewall() as firewall:
                firewall.guard_bridge(
                    network.bridge,
                    ipam.dotted(subnet.base),
                    subnet.prefix_length,
                    is_internal=network.is_internal,
                )
            _enable_forwarding()
        except BaseException:
            routes.delete(network.bridge)
            raise
    except KernelError as error:
        raise Denied(
            f"the bridge {network.bridge} cannot be set up: {error.what}",
            fix="use --network host or --network none, or run as root with netfilter available",
        ) from None
    return index


def _join(
    routes: Routes, network: Network, endpoint: Endpoint, *, master: int, namespace: int
) -> None:
    routes.add_veth(
        endpoint.host_interface,
        master=master,
        peer=endpoint.interface,
        peer_namespace=namespace,
        mac=bytes.fromhex(endpoint.mac.replace(":", "")),
        mtu=_mtu(network),
    )
    with made_inside(namespace, Routes) as there:
        index = there.set_up(endpoint.interface)
        there.add_address(index, endpoint.address, endpoint.prefix_length)
        if endpoint.gateway and endpoint.interface == "eth0":
            there.add_default_route(endpoint.gateway)


def _mtu(network: Network) -> int:
    """Never promise more than the way out can carry, lest large packets vanish."""
    if network.mtu:
        return network.mtu
    try:
        with open("/proc/net/route", encoding="utf-8") as file:
            rows = [line.split() for line in file]
    except OSError:
        return 0
    outwards = [row[0] for row in rows[1:] if row[1] == "00000000"]
    return interface_mtu(outwards[0]) if outwards else 0


def _enable_forwarding() -> None:
    with open(_IP_FORWARD, encoding="utf-8") as file:
        if file.read(1) == "1":
            return
    try:
        with open(_IP_FORWARD, "w", encoding="utf-8") as file:
            file.write("1")
    except OSError as error:
        raise KernelError("write", error.errno or 0, _IP_FORWARD) from None
