import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import Conflict, UsageError
from builder.networks import ipam
from builder.networks.ipam import Subnet

addresses = st.integers(0, 2**32 - 1)


@given(addresses)
def test_an_address_survives_being_written_and_read(address: int) -> None:
    assert ipam.parse_address(ipam.dotted(address)) == address


@given(addresses, st.integers(1, 30))
def test_a_subnet_holds_its_own_addresses_and_no_host_bits(address: int, length: int) -> None:
    subnet = ipam.parse_subnet(f"{ipam.dotted(address)}/{length}")

    assert subnet.holds(address)
    assert subnet.base % subnet.size == 0
    assert ipam.parse_subnet(str(subnet)) == subnet


@pytest.mark.parametrize("text", ["10.0.0.0", "10.0.0.0/31", "10.0.0.0/0", "10.0.0/8", "a/8", ""])
def test_other_texts_are_no_subnets(text: str) -> None:
    with pytest.raises(UsageError):
        ipam.parse_subnet(text)


def test_the_first_pool_that_nobody_uses_is_chosen() -> None:
    used = [ipam.parse_subnet("172.17.0.0/16"), ipam.parse_subnet("172.18.5.0/24")]

    assert str(ipam.free_subnet(used)) == "172.19.0.0/16"


def test_a_full_world_is_a_conflict() -> None:
    with pytest.raises(Conflict):
        ipam.free_subnet([Subnet(0, 1), Subnet(1 << 31, 1)])


def test_free_addresses_leave_out_the_taken_and_both_ends() -> None:
    subnet = ipam.parse_subnet("10.0.0.0/29")
    taken = {subnet.base + 1, subnet.base + 3}

    found = [address - subnet.base for address in ipam.free_addresses(subnet, taken)]

    assert found == [2, 4, 5, 6]


def test_a_range_narrows_the_choice() -> None:
    subnet = ipam.parse_subnet("10.0.0.0/24")

    found = list(ipam.free_addresses(subnet, set(), within=ipam.parse_subnet("10.0.0.64/30")))

    assert [ipam.dotted(address) for address in found] == [f"10.0.0.{n}" for n in range(64, 68)]


def test_a_wanted_address_must_belong_to_the_subnet() -> None:
    subnet = ipam.parse_subnet("10.0.0.0/24")

    for address in ("10.0.1.5", "10.0.0.0", "10.0.0.255"):
        with pytest.raises(UsageError):
            ipam.check_address(subnet, ipam.parse_address(address))
