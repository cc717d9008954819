import os
import random
import zlib
from collections.abc import Sequence
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidImage
from builder.layers.blocks import BlockReader, Blocks
from builder.layers.compress import Blob, Compressor
from builder.layers.deflate import deflated, inflated
from builder.layers.tar import BUFFER_BYTES


def content(size: int) -> bytes:
    words = random.Random(size)
    line = b"".join(b"%x " % words.getrandbits(30) for _ in range(40_000))
    return (line * (size // len(line) + 1))[:size]


PLAIN = content(4 * BUFFER_BYTES + 1000)


def blob(plain: bytes) -> tuple[bytes, Blob, Blocks]:
    fd = os.memfd_create("blob")
    with Compressor(fd, "gzip") as compressor:
        compressor.write(plain)
        made = compressor.finish()
        blocks = compressor.blocks(made)
    packed = os.pread(fd, 1 << 28, 0)
    os.close(fd)
    assert blocks is not None
    return packed, made, blocks


def reread(packed: bytes, sizes: Sequence[int]) -> tuple[bytes, BlockReader]:
    fd = os.memfd_create("blob")
    os.pwrite(fd, packed, 0)
    reader = BlockReader(fd, sizes)
    try:
        return b"".join(iter(lambda: reader.read(1), b"")), reader
    finally:
        os.close(fd)


@pytest.mark.parametrize("size", [1, BUFFER_BYTES, BUFFER_BYTES + 1, len(PLAIN)])
def test_a_blob_is_read_block_by_block(size: int) -> None:
    packed, made, blocks = blob(PLAIN[:size])

    plain, reader = reread(packed, blocks.sizes)

    assert plain == PLAIN[:size]
    assert blocks.digest == made.digest == reader.digest
    assert sum(blocks.sizes) + 18 == len(packed)


def test_the_latest_blocks_are_remembered_and_no_more() -> None:
    size = 20 * BUFFER_BYTES
    packed, _, blocks = blob(content(size))

    plain, reader = reread(packed, blocks.sizes)

    last = reader.recall(19)
    assert last is not None
    assert last.is_last
    assert last.plain == plain[-BUFFER_BYTES:]
    assert packed[-8 - len(last.packed) : -8] == last.packed
    assert reader.recall(0) is None
    assert reader.recall(20) is None


@pytest.mark.parametrize("block", range(4))
@pytest.mark.parametrize("shift", [*range(-8, 9), -1000, 1000])
def test_a_boundary_that_is_elsewhere_is_noticed(block: int, shift: int) -> None:
    packed, _, blocks = blob(PLAIN)
    sizes = list(blocks.sizes)
    sizes[block] += shift
    sizes[block + 1] -= shift

    if shift:
        with pytest.raises(InvalidImage):
            reread(packed, sizes)
    else:
        assert reread(packed, sizes)[0] == PLAIN


PACKED, _, BLOCKS = blob(PLAIN)
_ENDS = list(accumulate(BLOCKS.sizes))


@given(
    st.sets(st.sampled_from(_ENDS) | st.integers(1, _ENDS[-1]), max_size=7)
    | st.sets(st.sampled_from(_ENDS))
)
def test_no_other_index_is_valid(ends: set[int]) -> None:
    starts = [0, *sorted(ends)]
    sizes = [end - start for start, end in pairwise(starts)]

    if sorted(ends) == _ENDS:
        assert reread(PACKED, sizes)[0] == PLAIN
    elif sizes:
        with pytest.raises(InvalidImage):
            reread(PACKED, sizes)


@pytest.mark.parametrize("size", [0, 5, 10, 11, len(PACKED) // 2, len(PACKED) - 9])
def test_a_blob_that_is_cut_off_is_noticed(size: int) -> None:
    with pytest.raises(InvalidImage):
        reread(PACKED[:size], BLOCKS.sizes)


def test_a_blob_without_its_trailer_has_another_name() -> None:
    _, reader = reread(PACKED[:-1], BLOCKS.sizes)

    assert reader.digest != BLOCKS.digest


def test_a_size_beyond_any_block_is_not_read() -> None:
    with pytest.raises(InvalidImage):
        reread(PACKED, [1 << 60])


@pytest.mark.parametrize("is_last", [False, True])
def test_a_block_is_inflated_behind_what_comes_before(*, is_last: bool) -> None:
    before, block = PLAIN[:50_000], PLAIN[30_000:90_000]
    packed = b"".join(deflated(block, 3, before[-(32 << 10) :], is_last=is_last))

    assert inflated(packed, before, is_last=is_last) == block
    assert not inflated(packed, before, is_last=not is_last)
    assert not inflated(packed[:-1], before, is_last=is_last)
    assert not inflated(packed + b"\0", before, is_last=is_last)


def test_the_empty_block_at_the_end_belongs_to_what_is_before_it() -> None:
    """Without it the rest is on a byte's boundary by chance: an eighth of all blocks."""
    blocks = (b"".join(deflated(PLAIN[:size], 3, b"")) for size in range(1000, 1200))
    by_chance = [packed for packed in blocks if packed.endswith(b"\0\0\0\xff\xff")]

    assert by_chance
    assert all(inflated(packed, b"", is_last=False) for packed in by_chance)
    assert not any(inflated(packed[:-5], b"", is_last=False) for packed in by_chance)


def test_only_the_last_block_may_be_short() -> None:
    first = b"".join(deflated(PLAIN[:1000], 3, b""))
    last = b"".join(deflated(b"end", 3, PLAIN[:1000], is_last=True))
    head = PACKED[:10]

    assert reread(head + last, [len(last)])[0] == b"end"
    with pytest.raises(InvalidImage):
        reread(head + first + last, [len(first), len(last)])


@pytest.mark.parametrize("more", [0, 1, 64 << 20])
def test_what_is_longer_than_a_block_is_none(more: int) -> None:
    encoder = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = encoder.compress(bytes(BUFFER_BYTES + more)) + encoder.flush(zlib.Z_SYNC_FLUSH)

    assert bool(inflated(packed, b"", is_last=False)) == (not more)
