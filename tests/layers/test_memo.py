"""The memo of file digests: what it keeps, and what it refuses to load."""

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from builder.layers.memo import Memo, packed_status

ENTRIES = st.lists(
    st.tuples(st.binary(min_size=36, max_size=36), st.binary(min_size=32, max_size=32)),
    min_size=1,
    max_size=5,
)


@given(ENTRIES)
def test_what_was_kept_is_found_after_loading(entries: list[tuple[bytes, bytes]]) -> None:
    memo = Memo()
    for status, digest in entries:
        memo.keep(status, digest)

    loaded = Memo(memo.packed())

    assert all(loaded.find(status) == digest for status, digest in dict(entries).items())


@given(ENTRIES, st.data())
def test_a_damaged_memo_counts_as_empty(
    entries: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    memo = Memo()
    for status, digest in entries:
        memo.keep(status, digest)
    packed = bytearray(memo.packed())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    loaded = Memo(bytes(packed))

    assert all(loaded.find(status) is None for status, _digest in entries)


def test_a_changed_file_has_another_status(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    before = packed_status(os.stat(path))

    path.write_text("three")

    assert packed_status(os.stat(path)) != before
