import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable

import pytest
import pyzstd
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidImage
from builder.layers.stream import (
    BytesSource,
    Digesting,
    FdSource,
    decompressed,
    detect,
    is_archive,
)
from builder.oci.digest import digest_of

Encode = Callable[[bytes], bytes]

ENCODERS: dict[str, Encode] = {
    "gzip": gzip.compress,
    "zstd": lambda plain: pyzstd.compress(plain, {pyzstd.CParameter.checksumFlag: 1}),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


class Trickle:
    """Gives one byte at a time."""

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)

    def read(self, _size: int) -> bytes:
        return self._stream.read(1)


def drained(content: bytes, size: int = 1 << 20) -> bytes:
    source = decompressed(BytesSource(content))
    return b"".join(iter(lambda: source.read(size), b""))


@pytest.mark.parametrize("name", ENCODERS)
@given(parts=st.lists(st.binary(max_size=3000), min_size=1, max_size=3), size=st.integers(1, 5000))
def test_any_number_of_members_is_one_stream(name: str, parts: list[bytes], size: int) -> None:
    packed = b"".join(ENCODERS[name](part) for part in parts)

    assert detect(packed) == name
    assert drained(packed, size) == b"".join(parts)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_source_may_give_a_byte_at_a_time(name: str) -> None:
    source = decompressed(Trickle(ENCODERS[name](b"hello" * 20)))

    assert b"".join(iter(lambda: source.read(7), b"")) == b"hello" * 20


@pytest.mark.parametrize("name", ENCODERS)
def test_a_stream_that_is_cut_off_or_damaged_is_an_error(name: str) -> None:
    packed = ENCODERS[name](os.urandom(5000))

    with pytest.raises(InvalidImage, match="cut off"):
        drained(packed[:-5])
    with pytest.raises(InvalidImage):
        drained(packed[:2000] + b"\xff" * 100 + packed[2100:])
    with pytest.raises(InvalidImage):
        drained(packed + b"garbage behind the stream")


def test_zeros_may_follow_a_stream() -> None:
    assert drained(gzip.compress(b"x") + bytes(1000)) == b"x"


@given(st.binary(max_size=100))
def test_plain_bytes_stay_as_they_are(content: bytes) -> None:
    plain = b"plain" + content

    assert drained(plain, 7) == plain


def test_a_bomb_unpacks_piece_by_piece_up_to_a_limit() -> None:
    source = decompressed(BytesSource(gzip.compress(bytes(20 << 20))), max_bytes=5 << 20)

    sizes = [len(source.read(1 << 20)) for _ in range(5)]
    with pytest.raises(InvalidImage, match="more than"):
        source.read(1 << 20)

    assert max(sizes) <= 1 << 20
    assert sum(sizes) == 5 << 20


def test_what_is_read_is_digested() -> None:
    source = Digesting(BytesSource(b"hello"))

    while source.read(2):
        pass

    assert (source.digest, source.size_bytes) == (digest_of(b"hello"), 5)


def archive(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return out.getvalue()


ARCHIVES = {
    "plain": archive("f"),
    "gzip": gzip.compress(archive("f")),
    "zstd": pyzstd.compress(archive("f")),
    "bzip2": bz2.compress(archive("f")),
    "xz": lzma.compress(archive("f")),
    "one header": archive("f")[:512],
}
OTHERS = {
    "empty archive": archive(),
    "empty archive in gzip": gzip.compress(archive()),
    "text in gzip": gzip.compress(b"no archive"),
    "nothing in gzip": gzip.compress(b""),
    "long text in gzip": gzip.compress(b"x" * 2000),
    "cut off": gzip.compress(archive("f"))[:60],
    "nothing": b"",
    "text": b"text",
    "long text": b"x" * 600,
    "start of gzip": b"\x1f\x8b\x08",
}


@pytest.mark.parametrize("name", [*ARCHIVES, *OTHERS])
def test_an_archive_is_recognised_by_content(name: str) -> None:
    content = (ARCHIVES | OTHERS)[name]
    fd = os.memfd_create("archive")
    os.write(fd, content)

    assert is_archive(fd) is (name in ARCHIVES)
    assert FdSource(fd).read(3) == content[:3]
    os.close(fd)
