from struct import pack, unpack_from

from hypothesis import given
from hypothesis import strategies as st

from builder.networks import dns
from builder.networks.model import Endpoint

WEB = Endpoint(
    network="back",
    network_id="n",
    owner="0123456789abcdef",
    owner_name="Web",
    endpoint_id="e",
    address="172.18.0.2",
    prefix_length=16,
    gateway="172.18.0.1",
    mac="",
    interface="eth0",
    host_interface="",
    aliases=("www", "box"),
)


def query(name: str, kind: int = 1) -> bytes:
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + pack(">HH", kind, 1)


def answered(name: str, kind: int = 1) -> tuple[int, int, bytes] | None:
    """Give flags, number of answers and the last four bytes; None if it is not ours."""
    message = query(name, kind)
    question = dns.parse_question(message)
    assert question is not None
    reply = dns.answer(message, question, [WEB])
    if reply is None:
        return None
    identifier, flags, _questions, answers = unpack_from(">HHHH", reply)
    assert identifier == 7
    return flags & 0xF, answers, reply[-4:]


def test_a_container_is_known_by_name_alias_short_id_and_full_name() -> None:
    for name in ("web", "WEB", "www", "box", "0123456789ab", "web.back"):
        assert answered(name) == (0, 1, bytes([172, 18, 0, 2]))


def test_a_known_name_without_such_an_address_gives_an_empty_answer() -> None:
    found = answered("web", 28)

    assert found is not None
    assert found[:2] == (0, 0)


def test_another_name_is_somebody_elses_business() -> None:
    assert answered("example.org") is None
    assert answered("3.0.18.172.in-addr.arpa", 12) is None


def test_an_address_is_found_by_its_reverse_name() -> None:
    found = answered("2.0.18.172.in-addr.arpa", 12)

    assert found is not None
    assert found[:2] == (0, 1)


@given(st.binary(max_size=80))
def test_noise_is_no_question_and_never_an_error(noise: bytes) -> None:
    question = dns.parse_question(noise)

    assert question is None or dns.failure(noise, question)[:2] == noise[:2]
