"""The memo of a client's directories: what it keeps, and what it refuses to load."""

from hypothesis import given
from hypothesis import strategies as st

from builder.layers.folder import STATUS_BYTES, Folder
from builder.layers.memo import UNKNOWN, Known, Memo, Part

DIGEST = b"d" * len(UNKNOWN)
PART = Part(DIGEST, b"state", ("a", "b"), 3, b"brief")


def known(count: int, part: Part | None = None, fill: bytes = b"s") -> Known:
    names = b"\0".join(b"%d" % number for number in range(count))
    return Known(names, fill * STATUS_BYTES * count, DIGEST * count, b"view", part)


@given(st.dictionaries(st.text(), st.integers(0, 5), min_size=1), st.booleans())
def test_what_was_kept_is_found_after_loading(counts: dict[str, int], has_part: bool) -> None:  # noqa: FBT001 - hypothesis gives it
    memo = Memo()
    kept = {path: known(count, PART if has_part else None) for path, count in counts.items()}
    for path, one in kept.items():
        memo.keep(path, one)

    loaded = Memo(memo.packed())

    assert {path: loaded.find(path) for path in kept} == kept


@given(st.data())
def test_a_damaged_memo_counts_as_empty(data: st.DataObject) -> None:
    memo = Memo()
    memo.keep("a", known(3, PART))
    packed = bytearray(memo.packed())
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    assert Memo(bytes(packed)).find("a") is None


def test_anything_else_counts_as_empty() -> None:
    for packed in (b"", b"junk", b"memo3\0\0\0", b"memo3\0\0\0x", b"memo2\0\0\0" + bytes(16)):
        assert Memo(packed).find("a") is None


def test_digests_belong_to_a_name_and_a_status() -> None:
    one = known(2)._replace(contents=DIGEST + UNKNOWN)
    status = b"s" * STATUS_BYTES

    assert one.digests() == {(b"0", status): DIGEST}
    assert one.is_of(Folder(None, b"0\x001", status * 2))
    assert not one.is_of(Folder(None, b"0\x002", status * 2))
    assert not one.is_of(Folder(None, b"0\x001", status + b"t" * STATUS_BYTES))


def test_a_memo_does_not_grow_without_end() -> None:
    memo = Memo()
    for number in range(600):
        memo.keep(f"d{number}", known(9))
    again = Memo(memo.packed())
    first = again.find("d7")
    assert first is not None
    again.keep("d7", first)

    kept = Memo(again.packed())

    paths = {path for path, _ in kept.paths()}
    assert {"d7", "d599"} <= paths
    assert "d0" not in paths
    assert 900 <= sum(len(one.contents) // 32 + 1 for _, one in kept.paths()) <= 1020
