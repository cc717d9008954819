"""A container's places in networks: connected at its start, given back at its end.

The endpoints belong to the process that connects them, the container's monitor: should it be
killed, they are void, the kernel removes its packet filter table, and the namespace goes with the
last process in it.
"""

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from builder.containers.model import Container
from builder.containers.records import Records
from builder.errors import BuilderError, Conflict, UsageError
from builder.kernel.loop import Loop
from builder.networks import resolver
from builder.networks.model import Endpoint, held_by_me, holder_of
from builder.networks.ports import ANY_ADDRESS, PortBinding, parse_key
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.networks.firewall import Firewall
    from builder.networks.registry import Networks
    from builder.networks.usermode import Program

DEFAULT = "bridge"
_HOST, _NONE, _CONTAINER, _USER = "host", "none", "container:", "user"
_MAX_FILE_BYTES = 1 << 20


class NetworkPlan(NamedTuple):
    """The store whose networks they are, and whether the caller may make bridges."""

    state_dir: str
    is_root: bool
    warn: Callable[[str], None]
    """Called with what the user should hear."""

    @property
    def networks(self) -> "Networks":
        """The networks of the store; loaded only by who is in one."""
        from builder.networks.registry import Networks

        return Networks(self.state_dir)


class Attachments:
    """The network side of one container, for as long as its monitor runs."""

    def __init__(self, container: Container, records: Records, plan: NetworkPlan) -> None:
        """Keep what is needed; nothing is connected yet."""
        self._container = container
        self._records = records
        self._plan = plan
        self._fd = -1
        self._program: Program | None = None
        self._proxy = 0
        self._firewall: Firewall | None = None
        self.endpoints: list[Endpoint] = []
        self.ports: tuple[PortBinding, ...] = ()
        self.namespace: int | str = _NONE

    @property
    def mode(self) -> str:
        """The first network's name, or the mode."""
        names = self._container.networks
        return names[0] if names else DEFAULT

    def connect(self) -> None:
        """Make or join the namespace, connect it, publish the ports. Raises BuilderError."""
        mode = self.mode
        if mode in {_HOST, _NONE}:
            self.namespace = mode
        elif mode.startswith(_CONTAINER):
            self._join(mode.removeprefix(_CONTAINER))
        elif self._plan.is_root:
            self._connect_bridges()
        else:
            self._connect_user_mode()

    def disconnect(self, *, is_deferred: bool = False) -> None:
        """Give back addresses, ports, and the namespace.

        The kernel takes 50 ms to remove a bridge; with `is_deferred` another process waits for it.
        The endpoints are void in any case as soon as this process, their holder, has ended.
        """
        self._stop_proxy()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if not self.endpoints:
            return
        holder = holder_of(self.endpoints[0])
        self.endpoints = []
        if is_deferred:
            from builder.store.detached import run_detached

            run_detached(lambda: self._give_back(holder))
        else:
            self._give_back(holder)

    def _give_back(self, holder: tuple[int, int]) -> None:
        """Remove the container's endpoints, also those that others connected later.

        Those of its next run, which may have begun meanwhile, have another holder.
        """
        from builder.networks import bridge

        networks = self._plan.networks
        for network in networks.known():
            for endpoint in networks.all_endpoints(network):
                if endpoint.owner == self._container.id and holder_of(endpoint) == holder:
                    bridge.disconnect(networks, endpoint)

    def serve_names(self, loop: Loop) -> None:
        """Answer the container's name questions, if it is in a network that has names."""
        if not self._has_names() or self._fd < 0:
            return
        from builder.networks.dns import NameServer

        request = self._container.request
        upstream = request.dns or resolver.host_resolution().servers
        NameServer(loop, self._fd, endpoints=self._neighbours, upstream=upstream)

    def etc_files(self) -> tuple[str, str, str]:
        """Write the texts of /etc/hostname, /etc/hosts and /etc/resolv.conf."""
        container, request = self._container, self._container.request
        hostname = f"{container.hostname}\n"
        added = [(name, self._address(address)) for name, address in request.hosts]
        if self.namespace == _HOST:
            has_own = request.dns or request.dns_search or request.dns_options
            resolv = self._resolv_conf() if has_own else _host_resolv()
            return hostname, resolver.host_hosts(added), resolv
        if self.mode.startswith(_CONTAINER):
            return hostname, *self._files_of(self.mode.removeprefix(_CONTAINER))
        names = [container.hostname]
        if request.domainname:
            names.insert(0, f"{container.hostname}.{request.domainname}")
        own = [(endpoint.address, names) for endpoint in self.endpoints]
        return hostname, resolver.hosts(own, added), self._resolv_conf()

    def _resolv_conf(self) -> str:
        request = self._container.request
        return resolver.resolv_conf(
            resolver.container_resolution(
                dns=request.dns,
                search=request.dns_search,
                options=request.dns_options,
                has_names=self._has_names(),
            )
        )

    def _has_names(self) -> bool:
        return any(
            self._plan.networks.get(endpoint.network).has_names for endpoint in self.endpoints
        )

    def _neighbours(self) -> list[Endpoint]:
        networks = self._plan.networks
        mine = {
            network.name
            for network in networks.known()
            if network.has_names
            and any(e.owner == self._container.id for e in networks.endpoints(network))
        }
        return [e for name in mine for e in networks.endpoints(networks.get(name))]

    def _address(self, address: str) -> str:
        if address != resolver.HOST_GATEWAY:
            return address
        return next((e.gateway for e in self.endpoints if e.gateway), "127.0.0.1")

    def _files_of(self, name: str) -> tuple[str, str]:
        """Read the files of the container whose network is shared, inside its own root."""
        from builder.containers.runtime import running_state
        from builder.kernel.paths import read_small_file

        state = running_state(self._records, name)
        root = os.open(f"/proc/{state.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            found = [
                read_small_file(root, path, limit=_MAX_FILE_BYTES) or b""
                for path in ("/etc/hosts", "/etc/resolv.conf")
            ]
        finally:
            os.close(root)
        return os.fsdecode(found[0]), os.fsdecode(found[1])

    def _join(self, name: str) -> None:
        from builder.containers.runtime import running_state

        if self._container.request.ports:
            raise UsageError("a container in another one's network cannot publish ports")
        state = running_state(self._records, name)
        self._fd = os.open(f"/proc/{state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.namespace = self._fd

    def _connect_bridges(self) -> None:
        from builder.networks import bridge

        self.namespace = self._fd = bridge.new_namespace()
        try:
            for position, name in enumerate(self._container.networks or (DEFAULT,)):
                wanted = self._wanted(position, name)
                endpoint = bridge.connect(self._plan.networks, name, wanted, self._fd)
                self.endpoints.append(endpoint)
            self._publish()
        except BaseException:
            self.disconnect()
            raise

    def _connect_user_mode(self) -> None:
        from builder.networks import bridge, usermode

        namespace = bridge.new_namespace()
        ports = tuple(
            (port.host_ip or ANY_ADDRESS, port.host_port, port.protocol, port.container_port)
            for port in self._container.request.ports
        )
        try:
            self._program = usermode.start(namespace, ports=ports)
        except BuilderError as error:
            os.close(namespace)
            self._plan.warn(f"the container uses the host's network: {error.what}")
            self.namespace = _HOST
            return
        self.namespace = self._fd = namespace
        self.ports = tuple(
            PortBinding(inner, protocol, ip, outer) for ip, outer, protocol, inner in ports
        )

    def _wanted(self, position: int, name: str) -> Endpoint:
        container, request = self._container, self._container.request
        later = next((c for c in container.connections if c.network == name), None)
        is_first = position == 0 and later is None
        aliases = request.network_aliases if later is None else later.aliases
        return held_by_me(
            Endpoint(
                network="",
                network_id="",
                owner=container.id,
                owner_name=container.name,
                endpoint_id=os.urandom(32).hex(),
                address=request.ip if is_first else later.ip if later else "",
                prefix_length=0,
                gateway="",
                mac=request.mac_address if is_first else "",
                interface=f"eth{position}",
                host_interface="",
                aliases=(*aliases, container.hostname),
            )
        )

    def _publish(self) -> None:
        requests = list(self._requested_ports())
        if not requests or not self.endpoints:
            return
        from builder.networks import proxy

        listeners: list[proxy.Listener] = []
        try:
            for container_port, protocol, host_ip, first, last in requests:
                listeners.append(
                    proxy.listen(
                        host_ip, first, last, container_port=container_port, protocol=protocol
                    )
                )
        except BaseException:
            for listener in listeners:
                listener.socket.close()
            raise
        self.ports = tuple(listener.binding for listener in listeners)
        self._proxy = proxy.start(listeners, self.endpoints[0].address)
        self._redirect()

    def _redirect(self) -> None:
        """Let the kernel redirect what comes from outside; where it cannot, the proxy serves."""
        from builder.networks.firewall import Firewall, Redirect

        endpoint = self.endpoints[0]
        bridge_name = self._plan.networks.get(endpoint.network).bridge
        redirects = [
            Redirect(
                port.protocol,
                port.host_ip,
                port.host_port,
                endpoint.address,
                port.container_port,
                bridge_name,
            )
            for port in self.ports
            if not port.host_ip.startswith("127.")  # never leaves loopback: the proxy's alone
        ]
        if not redirects:
            return
        firewall = Firewall()
        try:
            firewall.publish(self._container.id[:12], redirects)
        except BuilderError:
            firewall.close()
            return
        self._firewall = firewall

    def _requested_ports(self) -> Iterable[tuple[int, str, str, int, int]]:
        request = self._container.request
        for port in request.ports:
            last = max(port.host_port, port.host_port_end)
            yield port.container_port, port.protocol, port.host_ip, port.host_port, last
        if not request.is_publishing_all:
            return
        explicit = {(port.container_port, port.protocol) for port in request.ports}
        for key in self._container.config.exposed_ports:
            if parse_key(key) not in explicit:
                number, protocol = parse_key(key)
                yield number, protocol, "", 0, 0

    def _stop_proxy(self) -> None:
        if self._proxy:
            os.kill(self._proxy, 9)
            os.waitpid(self._proxy, 0)
            self._proxy = 0
        if self._firewall is not None:
            self._firewall.close()
            self._firewall = None
        if self._program is not None:
            self._program.stop()
            self._program = None
        self.ports = ()


def check_networks(names: tuple[str, ...], networks: "Networks") -> tuple[str, ...]:
    """Return the names of networks that exist; raise NotFound, or Conflict for a bad mixture."""
    if not names or names == ("default",):
        return ()
    modes = [name for name in names if name in {_HOST, _NONE} or name.startswith(_CONTAINER)]
    if modes and len(names) > 1:
        raise Conflict(f"--network {modes[0]} excludes other networks")
    return names if modes else tuple(networks.get(name).name for name in names)


def _host_resolv() -> str:
    try:
        with open(resolver.HOST_RESOLV, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError:
        return ""
