import os
from pathlib import Path

import pytest

from builder.errors import Conflict, NotFound, UsageError
from builder.networks.model import Endpoint, Network, held_by_me
from builder.networks.registry import Networks


def endpoint(owner: str, address: str = "") -> Endpoint:
    return held_by_me(
        Endpoint("", "", owner, owner, os.urandom(8).hex(), address, 0, "", "", "eth0", "")
    )


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    return Networks(str(tmp_path))


@pytest.fixture
def network(networks: Networks) -> Network:
    return networks.create(Network("f" * 64, "back", subnet="10.213.9.0/29", bridge="br-test"))


def test_three_networks_are_always_there(networks: Networks) -> None:
    assert [network.name for network in networks.known()] == ["bridge", "host", "none"]


def test_a_network_is_found_by_name_and_by_the_beginning_of_its_id(
    networks: Networks, network: Network
) -> None:
    assert networks.get("back") == networks.get("ffff") == network
    assert network.gateway == "10.213.9.1"


def test_names_are_unique_and_valid(networks: Networks, network: Network) -> None:
    with pytest.raises(Conflict, match="already exists"):
        networks.create(network)
    with pytest.raises(UsageError):
        networks.create(Network("1" * 64, "../x"))


def test_overlapping_subnets_are_refused(networks: Networks, network: Network) -> None:
    with pytest.raises(Conflict, match="overlaps"):
        networks.create(Network("2" * 64, "other", subnet=network.subnet))


def test_addresses_are_given_out_once_and_come_back(networks: Networks, network: Network) -> None:
    with networks.locked():
        first = networks.allocate(network, endpoint("one"))
        second = networks.allocate(network, endpoint("two"))
        networks.release(first)
        third = networks.allocate(network, endpoint("three"))

    assert (first.address, second.address, third.address) == (
        "10.213.9.2",
        "10.213.9.3",
        "10.213.9.2",
    )


def test_a_wanted_address_that_is_taken_is_a_conflict(networks: Networks, network: Network) -> None:
    with networks.locked():
        networks.allocate(network, endpoint("one", "10.213.9.5"))
        with pytest.raises(Conflict):
            networks.allocate(network, endpoint("two", "10.213.9.5"))


def test_a_full_network_says_so(networks: Networks, network: Network) -> None:
    with networks.locked():
        for number in range(5):
            networks.allocate(network, endpoint(str(number)))
        with pytest.raises(Conflict, match="no free address"):
            networks.allocate(network, endpoint("one more"))


def test_an_endpoint_dies_with_its_holder(networks: Networks, network: Network) -> None:
    with networks.locked():
        held = networks.allocate(network, endpoint("one"))
        networks.save(held._replace(start_ticks=1))

    assert networks.endpoints(network) == []
    assert len(networks.all_endpoints(network)) == 1


@pytest.mark.parametrize("content", ["", '{"network": "back", "addr'])
def test_what_a_killed_writer_left_is_no_endpoint(
    networks: Networks, network: Network, tmp_path: Path, content: str
) -> None:
    with networks.locked():
        held = networks.allocate(network, endpoint("one"))
    left = tmp_path / "networks/back/endpoints/10.213.9.3.4711.new"
    left.write_text(content)

    assert networks.all_endpoints(network) == [held]
    networks.release(held)
    networks.remove(network)
    assert not left.exists()


def test_a_network_with_endpoints_is_not_removed(networks: Networks, network: Network) -> None:
    with networks.locked():
        held = networks.allocate(network, endpoint("one"))
    with pytest.raises(Conflict, match="active endpoints"):
        networks.remove(network)

    with networks.locked():
        networks.release(held)
    networks.remove(network)

    with pytest.raises(NotFound):
        networks.get("back")
