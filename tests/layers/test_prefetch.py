import threading
import time

import pytest

from builder.layers.prefetch import Prefetch

MIB = 1 << 20


class Source:
    """Gives numbered pieces of 1 MiB, then ends or fails; counts how often it was asked."""

    def __init__(self, pieces: int, error: Exception | None = None) -> None:
        self.asked = 0
        self.begun = threading.Event()
        self._pieces = pieces
        self._error = error

    def read(self, size: int) -> bytes:
        assert size == MIB
        self.asked += 1
        self.begun.set()
        if self.asked <= self._pieces:
            return bytes([self.asked]) * MIB
        if self._error is not None:
            raise self._error
        return b""


def test_pieces_come_in_order_and_the_end_stays_the_end() -> None:
    with Prefetch(Source(9)) as stream:
        found = b"".join(iter(lambda: stream.read(700_000), b""))
        again = stream.read(1)

    assert found == b"".join(bytes([number]) * MIB for number in range(1, 10))
    assert again == b""


def test_a_short_stream_starts_no_thread() -> None:
    before = threading.active_count()
    with Prefetch(Source(0)) as stream:
        assert stream.read(5) == b""
        assert threading.active_count() == before


def test_a_long_stream_is_read_before_it_is_asked_for() -> None:
    source = Source(9)
    with Prefetch(source, is_long=True) as stream:
        assert source.begun.wait(20)
        found = b"".join(iter(lambda: stream.read(MIB), b""))

    assert found == b"".join(bytes([number]) * MIB for number in range(1, 10))


def test_an_error_comes_where_it_happened_and_stays() -> None:
    with Prefetch(Source(3, ValueError("damaged"))) as stream:
        assert sum(len(stream.read(MIB)) for _ in range(3)) == 3 * MIB
        for _ in range(2):
            with pytest.raises(ValueError, match="damaged"):
                stream.read(1)


def test_leaving_early_stops_the_thread_and_reads_little_ahead() -> None:
    before = threading.active_count()
    source = Source(1000)
    with Prefetch(source) as stream:
        stream.read(MIB)
        stream.read(MIB)
        time.sleep(0.02)
        assert source.asked < 10

    assert threading.active_count() == before
