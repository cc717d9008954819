import gzip
import hashlib
import os
import random
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import pyzstd as zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import KernelError
from builder.layers.compress import Blob, Compressor, recompress
from builder.layers.deflate import Known, Recall, deflated
from builder.layers.stream import BytesSource, decompressed
from builder.layers.tar import BUFFER_BYTES
from builder.oci.digest import Digest
from builder.oci.media import Compression

MIB = 1 << 20
EXPAND: dict[Compression, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "none": bytes,
}
SIZES = [0, 1, 1000, MIB - 1, MIB, MIB + 1, 3 * MIB, 9 * MIB + 5]


@pytest.fixture
def out() -> Iterator[int]:
    fd = os.memfd_create("blob")
    yield fd
    os.close(fd)


def content(size: int) -> bytes:
    words = random.Random(size)
    block = b"".join(b"%x line\n" % words.getrandbits(40) for _ in range(9000))
    return (block * (size // len(block) + 1))[:size]


def written(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


def compressed(
    fd: int, pieces: Sequence[bytes], compression: Compression, level: int | None = None
) -> Blob:
    if os.path.isfile(f"/proc/self/fd/{fd}"):
        os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    with Compressor(fd, compression, level) as compressor:
        for piece in pieces:
            compressor.write(piece)
        return compressor.finish()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_blob_is_named_on_both_sides(out: int, compression: Compression, size: int) -> None:
    plain = content(size)

    blob = compressed(out, [plain], compression)

    packed = written(out)
    assert blob == Blob(
        Digest(f"sha256:{hashlib.sha256(packed).hexdigest()}"),
        len(packed),
        Digest(f"sha256:{hashlib.sha256(plain).hexdigest()}"),
        size,
    )
    assert EXPAND[compression](packed) == plain


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_bytes_do_not_depend_on_the_pieces(compression: Compression, seed: int) -> None:
    sizes = random.Random(seed)
    plain = content(sizes.choice([2 * MIB, 3 * MIB + 7, 6 * MIB]))
    pieces, rest = [], plain
    while rest:
        size = sizes.choice([1, 4096, MIB, MIB - 1, 700_000, 2 * MIB])
        pieces.append(rest[:size])
        rest = rest[size:]
    fd = os.memfd_create("pieces")

    blobs = {compressed(fd, [plain], compression), compressed(fd, pieces, compression)}

    os.close(fd)
    assert len(blobs) == 1


def test_gzip_is_one_member_with_a_header_that_says_nothing(out: int) -> None:
    compressed(out, [content(5 * MIB)], "gzip")

    packed = written(out)
    assert packed[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    member = zlib.decompressobj(31)
    member.decompress(packed)
    assert member.eof
    assert member.unused_data == b""


def test_levels_trade_size_for_time(out: int) -> None:
    plain = content(2 * MIB)

    sizes = [compressed(out, [plain], "gzip", level).size_bytes for level in (0, 1, 9)]
    zstd_sizes = [compressed(out, [plain], "zstd", level).size_bytes for level in (1, 19)]

    assert sizes[0] > sizes[1] != sizes[2]
    assert zstd_sizes[0] > zstd_sizes[1]


def test_a_small_blob_starts_no_thread(out: int) -> None:
    before = threading.active_count()
    with Compressor(out, "gzip") as compressor:
        compressor.write(content(BUFFER_BYTES))
        during = threading.active_count()
        compressor.finish()

    assert during == before


def test_no_thread_outlives_a_failed_blob() -> None:
    before = threading.active_count()
    full = os.open("/dev/full", os.O_WRONLY)

    with pytest.raises(KernelError):
        compressed(full, [content(20 * MIB)], "gzip")

    os.close(full)
    assert threading.active_count() == before


@pytest.mark.parametrize("source", ["gzip", "zstd", "none"])
def test_a_blob_is_compressed_anew(out: int, source: Compression) -> None:
    plain = content(2 * MIB + 3)
    first = compressed(out, [plain], source)
    os.lseek(out, 0, os.SEEK_SET)
    again = os.memfd_create("again")

    blob = recompress(out, again, "gzip", 1)

    assert blob.diff_id == first.diff_id
    assert gzip.decompress(written(again)) == plain
    os.close(again)


def test_memory_stays_flat_while_reading_what_was_written(out: int) -> None:
    compressed(out, [content(6 * MIB)], "gzip")
    source = decompressed(BytesSource(written(out)))

    pieces = [len(piece) for piece in iter(lambda: source.read(MIB), b"")]

    assert max(pieces) <= MIB
    assert sum(pieces) == 6 * MIB


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
@pytest.mark.parametrize("size", [0, 40_000, BUFFER_BYTES - 7, 3 * MIB + 5])
def test_a_file_that_is_copied_gives_the_same_blob(
    out: int, tmp_path: Path, compression: Compression, size: int
) -> None:
    plain = content(size)
    (tmp_path / "f").write_bytes(plain)
    expected = compressed(out, [b"header", plain, b"end"], compression)
    os.ftruncate(out, 0)
    os.lseek(out, 0, os.SEEK_SET)

    with (tmp_path / "f").open("rb") as file, Compressor(out, compression) as compressor:
        compressor.write(b"header")
        copied = compressor.copy(file.fileno(), size)
        compressor.write(b"end")
        blob = compressor.finish()

    assert (copied, blob) == (size, expected)
    assert EXPAND[compression](written(out)) == b"header" + plain + b"end"


def test_a_file_that_became_shorter_is_copied_as_far_as_it_goes(out: int, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"short")

    with (tmp_path / "f").open("rb") as file, Compressor(out, "gzip") as compressor:
        copied = compressor.copy(file.fileno(), 100)
        blob = compressor.finish()

    assert (copied, blob.uncompressed_bytes) == (5, 5)


def test_a_block_of_gzip_knows_the_end_of_the_one_before(out: int) -> None:
    noise = random.Random(1)
    end, other = noise.randbytes(16 << 10), noise.randbytes(16 << 10)
    start = noise.randbytes(BUFFER_BYTES - len(end))

    repeated = compressed(out, [start + end + end], "gzip").size_bytes
    different = compressed(out, [start + end + other], "gzip").size_bytes

    assert repeated < different - 15_000


def recalled(fd: int, pieces: Sequence[bytes], recall: Recall) -> bytes:
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    with Compressor(fd, "gzip", recall=recall) as compressor:
        for piece in pieces:
            compressor.write(piece)
        compressor.finish()
    return written(fd)


def in_blocks(plain: bytes) -> list[bytes]:
    return [plain[at : at + BUFFER_BYTES] for at in range(0, len(plain), BUFFER_BYTES)]


def remembered(plain: bytes, level: int = 3) -> Recall:
    """Deflate a stream, at another level if what is recalled shall be told from what is not."""
    blocks = in_blocks(plain)
    known = {}
    for number, block in enumerate(blocks):
        window = blocks[number - 1][-(32 << 10) :] if number else b""
        is_last = number == len(blocks) - 1
        known[number] = Known(
            block, b"".join(deflated(block, level, window, is_last=is_last)), is_last
        )
    return known.get


CALM = content(BUFFER_BYTES)


def varied(marks: Sequence[int], tail: int) -> bytes:
    """Make a stream of blocks, each with a mark at one of a few places."""
    blocks = []
    for mark in marks:
        block = bytearray(CALM)
        if mark:
            at = [0, BUFFER_BYTES // 2, BUFFER_BYTES - 1][mark % 3]
            block[at] ^= mark
        blocks.append(bytes(block))
    return b"".join(blocks) + CALM[:tail]


@settings(max_examples=40, deadline=None)
@given(
    before=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    now=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    tail_before=st.sampled_from([0, 0, 1, 5000]),
    tail=st.sampled_from([0, 0, 1, 5000]),
    is_whole=st.booleans(),
)
def test_what_is_recalled_makes_no_difference(
    before: list[int], now: list[int], tail_before: int, tail: int, *, is_whole: bool
) -> None:
    earlier, plain = varied(before, tail_before), varied(now, tail)
    pieces = in_blocks(plain) if is_whole else [plain]
    fd = os.memfd_create("recalled")

    found = recalled(fd, pieces, remembered(earlier))

    compressed(fd, [plain], "gzip")
    assert found == written(fd)
    os.close(fd)


def test_a_block_is_deflated_anew_only_if_it_or_its_window_differs(out: int) -> None:
    earlier = content(8 * BUFFER_BYTES + 1000)
    plain = bytearray(earlier)
    plain[2 * BUFFER_BYTES + 5] ^= 1
    plain[5 * BUFFER_BYTES - 5] ^= 1  # in the window of the next
    recall = remembered(earlier, level=0)

    found = recalled(out, [bytes(plain)], recall)

    assert gzip.decompress(found) == plain
    known = [recall(number) for number in range(9)]
    assert [n for n in range(9) if (one := known[n]) and one.packed not in found] == [2, 4, 5]


@pytest.mark.parametrize("size", [3 * BUFFER_BYTES, 3 * BUFFER_BYTES + 9])
def test_the_last_block_is_not_that_of_a_longer_stream(out: int, size: int) -> None:
    plain = content(size)
    longer = remembered(plain + CALM)

    found = recalled(out, [plain], longer)

    assert gzip.decompress(found) == plain


def test_nothing_new_starts_no_thread(out: int) -> None:
    plain = content(4 * BUFFER_BYTES)
    before = threading.active_count()
    with Compressor(out, "gzip", recall=remembered(plain)) as compressor:
        compressor.write(plain)
        during = threading.active_count()
        blob = compressor.finish()

    assert during == before
    assert compressor.blocks(blob) is not None


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_only_gzip_has_blocks_to_recall(out: int, compression: Compression) -> None:
    with Compressor(out, compression) as compressor:
        compressor.write(b"content")
        assert compressor.blocks(compressor.finish()) is None
