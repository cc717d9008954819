import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.containers import frames

messages = st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=100)), max_size=6)


@given(messages, st.integers(1, 20))
def test_frames_come_whole_from_pieces_of_any_size(
    wanted: list[tuple[int, bytes]], step: int
) -> None:
    content = b"".join(frames.frame(kind, body) for kind, body in wanted)
    decoder = frames.Decoder()

    found = [
        message
        for start in range(0, len(content), step)
        for message in decoder.feed(content[start : start + step])
    ]

    assert found == wanted


def test_a_size_survives() -> None:
    (kind, body), *_ = frames.Decoder().feed(frames.size(31, 97))

    assert kind == frames.RESIZE
    assert frames.parse_size(body) == (31, 97)


def test_an_absurd_length_is_an_error() -> None:
    with pytest.raises(ValueError, match="frame"):
        list(frames.Decoder().feed(b"\0\0\0\0\xff\xff\xff\xff"))
