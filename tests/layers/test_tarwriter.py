import io
import os
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidImage
from builder.layers.tar import Entry, Kind
from builder.layers.tarreader import Reader
from builder.layers.tarwriter import Writer

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
paths = st.lists(names.filter(lambda n: n not in (".", "..")), min_size=1, max_size=4).map("/".join)
kinds: st.SearchStrategy[Kind] = st.sampled_from(
    ["file", "directory", "symlink", "hardlink", "char", "block", "fifo"]
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[Entry, bytes]:
    kind = draw(kinds)
    content = draw(st.binary(max_size=1500)) if kind == "file" else b""
    entry = Entry(
        draw(paths),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(st.integers(0, 0xFFFF_FFFE)),
        draw(st.integers(0, 0xFFFF_FFFE)),
        len(content),
        draw(st.integers(-(2**33), 2**35)) * 10**9,
        draw(paths) if kind in ("symlink", "hardlink") else "",
        (draw(st.integers(0, 0xFFF)), draw(st.integers(0, 0xFFFFF)))
        if kind in ("char", "block")
        else (0, 0),
        tuple(sorted(draw(st.dictionaries(st.just("user.a"), st.binary(max_size=50))).items())),
    )
    return entry, content


def packed(*members: tuple[Entry, bytes]) -> bytes:
    out = io.BytesIO()
    writer = Writer(out.write)
    for entry, content in members:
        writer.add(entry, content)
    writer.close()
    return out.getvalue()


@given(st.lists(entries(), max_size=5))
def test_what_is_written_is_read_back(members: list[tuple[Entry, bytes]]) -> None:
    stream = io.BytesIO(packed(*members))

    reader = Reader(stream.read)
    found = [(entry, reader.content()) for entry in reader]

    assert found == members


@given(st.lists(entries(), max_size=3))
def test_another_reader_sees_the_same(members: list[tuple[Entry, bytes]]) -> None:
    stream = io.BytesIO(packed(*members))

    with tarfile.open(fileobj=stream, errors="surrogateescape") as archive:
        found = [(m.name, m.mode, m.uid, m.gid, m.size, m.mtime, m.linkname) for m in archive]

    assert found == [
        (e.name, e.mode_bits, e.uid, e.gid, e.size_bytes, e.mtime_ns // 10**9, e.link_name)
        for e, _ in members
    ]


def test_an_empty_archive_is_two_zero_blocks() -> None:
    assert packed() == bytes(1024)


def test_a_short_ascii_member_is_plain_ustar() -> None:
    header = packed((Entry("etc/motd", mode_bits=0o640, uid=3, gid=4, size_bytes=2), b"hi"))[:512]

    assert header[:9] == b"etc/motd\0"
    assert header[100:156] == b"0000640\x000000003\x000000004\x0000000000002\x0000000000000\x00" + (
        b"%06o\0 " % (sum(header) - sum(header[148:156]) + 256)
    )
    assert header[156:265] == b"0" + bytes(100) + b"ustar\x0000"
    assert header[329:345] == b"0000000\x000000000\x00"


def test_a_long_name_gets_a_pax_header_beside_it() -> None:
    archive = packed((Entry("d/" + "n" * 120), b""))

    assert archive[:15] == b"d/PaxHeaders.0/"
    assert archive[512 : 512 + 131] == b"132 path=d/" + b"n" * 120
    assert archive[1024 : 1024 + 100] == b"d/" + b"n" * 98


def test_times_are_whole_seconds() -> None:
    assert packed((Entry("a", mtime_ns=1_999_999_999), b"")) == packed(
        (Entry("a", mtime_ns=1_000_000_000), b"")
    )


def test_a_name_with_a_nul_cannot_be_written() -> None:
    with pytest.raises(InvalidImage, match="NUL"):
        packed((Entry("ä\0"), b""))


def test_a_file_that_shrinks_while_it_is_read_is_an_error() -> None:
    fd = os.memfd_create("short")
    os.write(fd, b"abc")
    os.lseek(fd, 0, os.SEEK_SET)
    with pytest.raises(InvalidImage, match="shorter"):
        Writer(io.BytesIO().write).add_file(Entry("f", size_bytes=5), fd)
    os.close(fd)


def test_pieces_do_not_grow_with_the_archive() -> None:
    sizes = []
    writer = Writer(lambda piece: sizes.append(len(piece)))
    for _ in range(40):
        writer.add(Entry("f", size_bytes=100_000), bytes(100_000))
    writer.close()

    assert max(sizes) < 1_200_000
    assert sum(sizes) == 40 * (512 + 100_352) + 1024
