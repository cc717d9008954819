from hypothesis import given
from hypothesis import strategies as st

from builder.networks import netlink

attributes = st.dictionaries(st.integers(1, 1000), st.binary(max_size=40), max_size=8)


@given(attributes)
def test_attributes_survive_being_encoded(wanted: dict[int, bytes]) -> None:
    content = b"".join(netlink.attribute(kind, value) for kind, value in wanted.items())

    assert len(content) % 4 == 0
    assert netlink.attributes(content, 0) == wanted


@given(st.binary(max_size=60))
def test_noise_is_decoded_to_something(noise: bytes) -> None:
    assert isinstance(netlink.attributes(noise, 0), dict)


def test_a_mac_is_made_of_the_address() -> None:
    assert netlink.mac_text(netlink.mac_of("172.17.0.2")) == "02:42:ac:11:00:02"


def test_loopback_is_always_found() -> None:
    with netlink.Routes() as routes:
        found = routes.link("lo")
        missing = routes.link("no-such-link0")

    assert found is not None
    assert found.ifindex == 1
    assert missing is None
