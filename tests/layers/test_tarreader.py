import io
import struct
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidImage
from builder.layers.tar import Entry
from builder.layers.tarreader import Limits, Reader


def header(
    name: bytes = b"f", size: bytes = b"0" * 11, flag: bytes = b"0", **fields: bytes
) -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[100:124] = b"0000644\x000000000\x000000000\x00"
    block[124 : 124 + len(size)] = size
    block[136:148] = b"0" * 11 + b"\0"
    block[156:157] = flag
    block[257:265] = fields.get("magic", b"ustar\x0000")
    block[157 : 157 + len(fields.get("link", b""))] = fields.get("link", b"")
    block[148:156] = b"        "
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(*records: tuple[bytes, bytes], flag: bytes = b"x") -> bytes:
    content = b""
    for key, value in records:
        rest = b" %b=%b\n" % (key, value)
        size = len(rest) + 1
        while size != len(rest) + len(str(size)):
            size += 1
        content += b"%d%b" % (size, rest)
    return raw_pax(content, flag)


def raw_pax(content: bytes, flag: bytes = b"x") -> bytes:
    padded = content + bytes(-len(content) % 512)
    return header(b"pax", b"%011o" % len(content), flag) + padded


def entries(archive: bytes, limits: Limits = Limits()) -> list[Entry]:  # noqa: B008
    return list(Reader(io.BytesIO(archive).read, limits))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_others_are_read(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        long = tarfile.TarInfo("/".join(["d" * 50] * 3))
        long.size, long.mtime, long.mode = 3, 1234, 0o755
        archive.addfile(long, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../" * 20 + "etc"
        archive.addfile(link)

    reader = Reader(io.BytesIO(out.getvalue()).read)
    found = [(entry, reader.content()) for entry in reader]

    assert found == [
        (Entry(long.name, "file", 0o755, 0, 0, 3, 1234 * 10**9), b"abc"),
        (Entry("link", "symlink", 0o644, link_name=link.linkname), b""),
    ]


def test_content_may_be_read_in_pieces_or_not_at_all() -> None:
    body = header(size=b"%011o" % 700) + b"x" * 700 + bytes(324)
    reader = Reader(io.BytesIO(body * 3 + bytes(1024)).read)

    found = []
    for index, _ in enumerate(reader):
        if index == 1:
            found = [bytes(reader.piece()), bytes(reader.piece())]

    assert found == [b"x" * 700, b""]


def test_a_reader_may_be_given_a_byte_at_a_time() -> None:
    stream = io.BytesIO(pax((b"path", b"long")) + header(size=b"00000000003") + b"abc" + bytes(509))
    reader = Reader(lambda _size: stream.read(1))

    assert [(entry.name, reader.content()) for entry in reader] == [("long", b"abc")]


def test_pax_overrides_what_the_header_says() -> None:
    archive = pax(
        (b"path", "ü/name".encode()),
        (b"uid", b"4000000000"),
        (b"mtime", b"-12.5"),
        (b"SCHILY.xattr.user.a", b"\0\n="),
        (b"unknown", b"x"),
    )

    (entry,) = entries(archive + header())

    assert entry == Entry(
        "ü/name", uid=4_000_000_000, mtime_ns=-12_500_000_000, xattrs=(("user.a", b"\0\n="),)
    )


def test_base_256_numbers_are_read() -> None:
    size = b"\x80" + (5).to_bytes(11, "big")

    (entry,) = entries(header(size=size) + b"hello" + bytes(507))

    assert entry.size_bytes == 5


def test_an_old_directory_is_told_by_its_slash() -> None:
    (entry,) = entries(header(b"dir/", flag=b"\0"))

    assert (entry.name, entry.kind) == ("dir", "directory")


def test_a_stream_without_a_byte_is_an_empty_archive() -> None:
    assert entries(b"") == []
    assert entries(bytes(512)) == []


NEGATIVE = b"\xff" * 12
HUGE = b"\x80" + (2**62).to_bytes(11, "big")


@pytest.mark.parametrize(
    "archive",
    [
        header()[:300],
        header(size=b"%011o" % 600) + b"x" * 100,
        header(size=NEGATIVE),
        header(size=HUGE) + bytes(1024),
        header(size=b"00000000009"),
        header(flag=b"S"),
        header(flag=b"\xff"),
        header(b"bad").replace(b"bad", b"sum"),
        raw_pax(b"0 a=b\n"),
        raw_pax(b"-5 a=b\n"),
        raw_pax(b"99 a=b\n"),
        raw_pax(b"6 a=b\n5 =b\n") + header(),
        raw_pax(b"6 ab c\n") + header(),
        raw_pax(b"20000000000000000000000 a=b\n"),
        pax((b"size", b"-1")) + header(),
        pax((b"size", b"1e3")) + header(),
        pax((b"uid", b"4294967295")) + header(),
        pax((b"mtime", b"nan")) + header(),
        pax((b"GNU.sparse.major", b"1")) + header(),
        pax((b"path", b"a\0b")) + header(),
        pax((b"linkpath", b"a\0b")) + header(flag=b"2"),
        pax((b"path", b"n" * 5000)) + header(),
        header(size=b"%011o" % (8 << 30), flag=b"L"),
        header(size=b"%011o" % (2 << 20), flag=b"x") + bytes(2 << 20),
        pax((b"path", b"a")) * 30 + header(),
        pax((b"path", b"a")) + bytes(1024),
        header() + bytes(512) + header(),
        header(flag=b"3")[:329] + b"7777777\0" * 2 + header(flag=b"3")[345:],
    ],
)
def test_malformed_archives_are_refused(archive: bytes) -> None:
    with pytest.raises(InvalidImage):
        entries(archive)


def test_limits_hold() -> None:
    with pytest.raises(InvalidImage, match="more than 2 members"):
        entries(header() * 3, Limits(entries=2))
    with pytest.raises(InvalidImage, match="600 bytes"):
        entries(header(size=b"%011o" % 600) + bytes(1024), Limits(entry_bytes=599))


@given(st.binary(max_size=2000), st.integers(0, 3))
def test_damage_is_an_error_and_never_an_exception_of_another_kind(
    noise: bytes, position: int
) -> None:
    archive = bytearray(pax((b"path", b"name"), (b"size", b"4")) + header() + b"abcd" + bytes(508))
    start = position * 400
    archive[start : start + len(noise)] = noise

    try:
        entries(bytes(archive))
    except InvalidImage:
        return


@given(st.integers(0, 511), st.integers(0, 255))
def test_any_changed_byte_of_a_header_is_noticed_or_harmless(at: int, value: int) -> None:
    archive = bytearray(header(b"name", flag=b"2", link=b"target"))
    archive[at] = value

    try:
        found = entries(bytes(archive) + bytes(1024))
    except InvalidImage:
        return
    assert struct.pack("B", value) == header(b"name", flag=b"2", link=b"target")[at : at + 1] or (
        148 <= at < 156
    ), found
