import pytest

from builder.errors import UsageError
from builder.networks.ports import exposed_keys, parse_key


def test_ranges_and_protocols_are_spelled_out_once() -> None:
    assert exposed_keys(("80", "80/tcp", "8000-8002/udp")) == (
        "80/tcp",
        "8000/udp",
        "8001/udp",
        "8002/udp",
    )


def test_a_key_has_a_number_and_a_protocol() -> None:
    assert parse_key("53/UDP") == (53, "udp")


@pytest.mark.parametrize("text", ["", "0", "65536", "80/icmp", "9-8", "x", "-1", "80/"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        exposed_keys((text,))
