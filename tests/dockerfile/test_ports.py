import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.dockerfile.ports import MAX_PORT, Exposed, InvalidPort, exposed


def test_a_bare_number_is_tcp() -> None:
    assert exposed("8080") == Exposed(("8080/tcp",))


def test_protocols_are_lowered_and_told_of() -> None:
    assert exposed("53/UDP") == Exposed(("53/udp",), is_protocol_lower=False)


@given(st.integers(0, MAX_PORT), st.integers(0, 20))
def test_a_range_becomes_single_ports(first: int, more: int) -> None:
    last = min(first + more, MAX_PORT)

    result = exposed(f"{first}-{last}/sctp")

    assert result.ports == tuple(f"{port}/sctp" for port in range(first, last + 1))


@pytest.mark.parametrize(
    "word",
    [
        "80:80",
        "0.0.0.0:1234:80/tcp",
        "[::1]:80:80",
        "2001:4860:0:2001::68::80",
        "::1:80:80",
        "::::80",
        "7000-7002:80",
    ],
)
def test_mappings_are_reduced_to_the_container_port(word: str) -> None:
    assert exposed(word) == Exposed(("80/tcp",), is_mapping=True)


def test_an_empty_host_port_is_no_mapping() -> None:
    assert exposed(":80") == Exposed(("80/tcp",))


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("x", "invalid containerPort: x"),
        ("65536", "invalid containerPort: 65536"),
        ("8-7", "invalid containerPort: 8-7"),
        ("80/icmp", 'invalid port: "80/icmp": invalid proto: icmp'),
        ("/tcp", 'invalid port: "/tcp": no port specified'),
        ("x:80", "invalid hostPort: x"),
        ("host:80:80", "invalid IP address: host"),
        ("1-2:80-82", "invalid ranges specified for container and host Ports: 80-82 and 1-2"),
    ],
)
def test_what_is_no_port_is_refused(word: str, reason: str) -> None:
    with pytest.raises(InvalidPort) as caught:
        exposed(word)

    assert str(caught.value) == reason


@given(st.text(alphabet="0123456789-/:.[]tcpudx ", max_size=12))
def test_any_word_is_read_or_refused(word: str) -> None:
    try:
        result = exposed(word)
    except InvalidPort:
        return

    assert result.ports
