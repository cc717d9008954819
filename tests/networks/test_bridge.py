import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.networks import bridge
from builder.networks.firewall import Firewall, Redirect
from builder.networks.model import Endpoint, held_by_me
from builder.networks.netlink import Routes
from builder.networks.pool import NetworkPool
from builder.networks.registry import Networks

pytestmark = pytest.mark.root


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    return Networks(str(tmp_path))


@pytest.fixture
def namespace() -> Iterator[int]:
    fd = bridge.new_namespace()
    yield fd
    os.close(fd)


def wanted(interface: str = "eth0") -> Endpoint:
    return held_by_me(
        Endpoint("", "", "test", "test", os.urandom(32).hex(), "", 0, "", "", interface, "")
    )


def links(networks: Networks) -> set[str]:
    """Give those of our own devices that exist."""
    with Routes() as routes:
        present = {link.name for link in routes.links()}
    return present & {network.bridge for network in networks.known() if network.bridge}


def test_a_connection_brings_address_route_and_bridge_and_takes_them_along(
    networks: Networks, namespace: int
) -> None:
    endpoint = bridge.connect(networks, "bridge", wanted(), namespace)

    with bridge.made_inside(namespace, Routes) as inside:
        addresses = {found.address for found in inside.addresses()}
        has_default = any(length == 0 for _base, length, _index in inside.destinations())
    assert endpoint.address in addresses
    assert has_default
    assert links(networks)

    bridge.disconnect(networks, endpoint)

    assert not links(networks)
    with bridge.made_inside(namespace, Routes) as inside:
        assert inside.link("eth0") is None


def test_the_bridge_stays_as_long_as_somebody_is_connected(
    networks: Networks, namespace: int
) -> None:
    first = bridge.connect(networks, "bridge", wanted("eth0"), namespace)
    second = bridge.connect(networks, "bridge", wanted("eth1"), namespace)

    bridge.disconnect(networks, first)
    assert links(networks)
    bridge.disconnect(networks, second)

    assert not links(networks)


def test_what_a_killed_holder_left_is_swept(networks: Networks, namespace: int) -> None:
    endpoint = bridge.connect(networks, "bridge", wanted(), namespace)
    networks.save(endpoint._replace(start_ticks=1))

    bridge.remove_idle(networks)

    assert not links(networks)


def test_a_table_of_published_ports_ends_with_its_owner() -> None:
    name = f"test{os.getpid()}"
    firewall = Firewall()
    firewall.publish(name, [Redirect("tcp", "192.0.2.250", 1, "192.0.2.251", 2)])

    during = _tables()
    firewall.close()

    if during is not None:
        assert f"builder-{name}" in during
        assert f"builder-{name}" not in (_tables() or "")


def test_sequential_steps_of_a_build_share_one_namespace(networks: Networks) -> None:
    with NetworkPool(networks, is_root=True) as pool:
        with pool.lease() as first:
            pass
        with pool.lease() as second:
            pass
        with pool.lease() as third, pool.lease() as fourth:
            pass
        assert first == second == third
        assert fourth != third

    assert not links(networks)
    assert networks.all_endpoints(networks.get("bridge")) == []


def test_a_namespace_that_was_changed_is_not_used_again(networks: Networks) -> None:
    with NetworkPool(networks, is_root=True) as pool:
        with pool.lease(is_reusable=False) as dirty:
            kept = os.dup(int(dirty))  # as long as it is open, no other gets its number
        with pool.lease() as clean:
            is_same = os.path.samestat(os.fstat(int(clean)), os.fstat(kept))
        os.close(kept)

    assert not is_same


def _tables() -> str | None:
    try:
        listed = subprocess.run(
            ["nft", "list", "tables"], check=True, capture_output=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return listed.stdout


def test_the_bridge_of_a_deleted_state_directory_is_swept(
    networks: Networks, namespace: int, tmp_path: Path
) -> None:
    other = Networks(str(tmp_path / "other"))
    bridge.connect(other, "bridge", wanted(), namespace)
    assert links(other)
    name = other.get("bridge").bridge
    shutil.rmtree(tmp_path / "other")

    bridge.remove_idle(networks)

    with Routes() as routes:
        assert routes.link(name) is None
