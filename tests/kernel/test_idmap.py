from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from builder.kernel import idmap


def test_ranges_are_read_by_name_and_number(tmp_path: Path) -> None:
    path = tmp_path / "subuid"
    path.write_text(
        "root:100:5\n0:200:6\nother:300:7\n# comment\nroot:x:1\nroot:1:-2\n"
        "root:400:0\nroot:1\nroot:99999999999:1\n"
    )

    assert idmap.subordinate(str(path), 0) == ((100, 5), (200, 6))


def test_no_file_grants_nothing(tmp_path: Path) -> None:
    assert idmap.subordinate(str(tmp_path / "none"), 0) == ()


@given(
    st.integers(1, 2**31),
    st.lists(st.tuples(st.integers(1, 2**31), st.integers(1, 2**16)), max_size=5).map(tuple),
)
def test_the_own_id_is_0_and_the_rest_follows_without_gaps(
    own: int, granted: tuple[tuple[int, int], ...]
) -> None:
    ranges = idmap.with_own(own, granted)

    assert ranges[0] == (0, own, 1)
    assert idmap.count(ranges) == 1 + sum(length for _, length in granted)
    inside = 0
    for first, _, length in ranges:
        assert first == inside
        inside += length


def test_the_own_map_is_read_and_written_alike() -> None:
    ranges = idmap.own_map("uid")

    assert idmap.text(ranges).split() == Path("/proc/self/uid_map").read_text().split()
    assert idmap.identity(((3, 100, 7),)) == ((3, 3, 7),)
