"""Write tar archives whose bytes depend on nothing but the members given.

The form is that of Go's archive/tar in its PAX format, which the reference uses: plain ustar
headers, and before them a PAX header only for what does not fit: names that are long or not ASCII,
large or negative numbers, extended attributes. Times are whole seconds.
"""

import os
import sys
from collections.abc import Callable

from builder.errors import InvalidImage
from builder.layers.tar import (
    BLOCK_BYTES,
    BUFFER_BYTES,
    NS_PER_S,
    TYPE_FLAGS,
    XATTR_RECORD,
    Entry,
    padding,
)
from builder.values import NamedTuple

Buffer = bytes | bytearray | memoryview
Copy = Callable[[int, int], int]
"""Takes up to so many bytes from a descriptor's position, and says how many there were."""

_ENCODING = sys.getfilesystemencoding()
_NAME_BYTES = 100
_MAX_OCTAL_7 = 0o7777777
_MAX_OCTAL_11 = 0o77777777777
_BUFFER_BYTES = 256 << 10
_SPACES = 8 * ord(" ")
_TAIL = b"ustar\x0000".ljust(8 + 32 + 32, b"\0")


class _Template(NamedTuple):
    """What headers of equal kind, mode, owner and device share; `total` is the sum of its bytes."""

    owner: bytes
    rest: bytes
    total: int
    is_fitting: bool

    def linked(self, link: bytes) -> "_Template":
        """Fill in a link's target."""
        rest = self.rest[:1] + link.ljust(_NAME_BYTES, b"\0") + self.rest[1 + _NAME_BYTES :]
        return self._replace(rest=rest, total=self.total + sum(link))


class Writer:
    """Packs members into a sink, which is called with pieces of about 256 KiB."""

    def __init__(self, write: Callable[[Buffer], object], copy: Copy | None = None) -> None:
        """Write to `write`, which may keep what it is given; large files go through `copy`."""
        self._write = write
        self._copy = copy or self._copied
        self._buffer = bytearray()
        self._flushed_bytes = 0
        self._templates: dict[tuple[object, ...], _Template] = {}

    @property
    def size_bytes(self) -> int:
        """How long the archive is by now."""
        return self._flushed_bytes + len(self._buffer)

    def add(self, entry: Entry, content: Buffer = b"") -> None:
        """Add a member with all of its content, if it has any."""
        self._put_header(entry)
        if content:
            self._buffer += content
            self._buffer += bytes(padding(len(content)))
        if len(self._buffer) >= _BUFFER_BYTES:
            self.flush()

    def add_file(self, entry: Entry, fd: int) -> None:
        """Add a regular file, reading its content from a descriptor's position.

        Raises InvalidImage if the file is shorter than the entry says; more is not read.
        """
        self._put_header(entry)
        self.flush()
        if self._copy(fd, entry.size_bytes) < entry.size_bytes:
            raise InvalidImage(f"{entry.name} became shorter while it was read")
        self._flushed_bytes += entry.size_bytes
        self._buffer += bytes(padding(entry.size_bytes))

    def add_packed(self, content: Buffer) -> None:
        """Add whole members, or a part of them, as another archive has them."""
        self.flush()
        self._flushed_bytes += len(content)
        self._write(content)

    def flush(self) -> None:
        """Hand everything packed so far to the sink."""
        if self._buffer:
            piece, self._buffer = self._buffer, bytearray()
            self._flushed_bytes += len(piece)
            self._write(piece)

    def close(self) -> None:
        """End the archive with two zero blocks; the sink stays open."""
        self._buffer += bytes(2 * BLOCK_BYTES)
        self.flush()

    def _copied(self, fd: int, size_bytes: int) -> int:
        left = size_bytes
        while left and (piece := os.read(fd, min(left, BUFFER_BYTES))):
            left -= len(piece)
            self._write(piece)
        return size_bytes - left

    def _put_header(self, entry: Entry) -> None:
        name_text, kind, mode_bits, uid, gid, size_bytes, mtime_ns, link_text, device, _ = entry
        name = name_text.encode(_ENCODING, "surrogateescape")
        if kind == "directory":
            name += b"/"
        key = (kind, mode_bits, uid, gid, device)
        template = self._templates.get(key) or self._new_template(entry, key)
        mtime_s = mtime_ns // NS_PER_S
        if (
            link_text
            or entry.xattrs
            or not template.is_fitting
            or len(name) > _NAME_BYTES
            or not name.isascii()
            or not 0 <= mtime_s <= _MAX_OCTAL_11
            or size_bytes > _MAX_OCTAL_11
        ):
            link = link_text.encode(_ENCODING, "surrogateescape")
            self._put_pax(entry, name, link)
            name, link = _ascii_field(name), _ascii_field(link)
            template = template.linked(link)
        if not 0 <= mtime_s <= _MAX_OCTAL_11:
            mtime_s = 0
        if size_bytes > _MAX_OCTAL_11:
            size_bytes = 0
        self._put_ustar(template, name, size_bytes, mtime_s)

    def _put_ustar(self, template: _Template, name: bytes, size_bytes: int, mtime_s: int) -> None:
        numbers = b"%011o\0%011o\0" % (size_bytes, mtime_s)
        self._buffer += b"%b%b%b%06o\0 %b" % (
            name.ljust(_NAME_BYTES, b"\0"),
            template.owner,
            numbers,
            template.total + sum(name) + sum(numbers),
            template.rest,
        )

    def _new_template(self, entry: Entry, key: tuple[object, ...]) -> _Template:
        numbers = (entry.mode_bits & 0o7777, entry.uid, entry.gid)
        fitting = tuple(number if number <= _MAX_OCTAL_7 else 0 for number in numbers)
        owner = b"%07o\0%07o\0%07o\0" % fitting
        template = _template(
            owner, TYPE_FLAGS[entry.kind], entry.device, is_fitting=fitting == numbers
        )
        self._templates[key] = template
        return template

    def _put_pax(self, entry: Entry, name: bytes, link: bytes) -> None:
        records = _pax_records(entry, name, link)
        if not records:
            return
        content = b"".join(_record(key, value) for key, value in sorted(records.items()))
        directory, _, last = name.rpartition(b"/")
        parts = [part for part in (directory, b"PaxHeaders.0", last) if part]
        header_name = _ascii_field(b"/".join(parts)).rstrip(b"/")
        template = _template(b"%07o\0" % 0 * 3, b"x", (0, 0), is_fitting=True)
        self._put_ustar(template, header_name, len(content), 0)
        self._buffer += content
        self._buffer += bytes(padding(len(content)))


def _template(owner: bytes, flag: bytes, device: tuple[int, int], *, is_fitting: bool) -> _Template:
    tail = (_TAIL + b"%07o\0%07o\0" % device).ljust(255, b"\0")
    rest = flag + bytes(_NAME_BYTES) + tail
    return _Template(owner, rest, sum(owner) + sum(rest) + _SPACES, is_fitting)


def _pax_records(entry: Entry, name: bytes, link: bytes) -> dict[bytes, bytes]:
    """Collect what the ustar header cannot say."""
    records = {}
    if len(name) > _NAME_BYTES or not name.isascii():
        records[b"path"] = name
    if len(link) > _NAME_BYTES or not link.isascii():
        records[b"linkpath"] = link
    if b"\0" in name or b"\0" in link:
        raise InvalidImage(f"{entry.name!r} or its link holds a NUL, which no archive can")
    mtime_s = entry.mtime_ns // NS_PER_S
    limits = (
        (b"uid", entry.uid, _MAX_OCTAL_7),
        (b"gid", entry.gid, _MAX_OCTAL_7),
        (b"size", entry.size_bytes, _MAX_OCTAL_11),
        (b"mtime", mtime_s, _MAX_OCTAL_11),
    )
    for key, number, limit in limits:
        if not 0 <= number <= limit:
            records[key] = b"%d" % number
    for xattr, content in entry.xattrs:
        records[os.fsencode(XATTR_RECORD + xattr)] = content
    return records


def _record(key: bytes, value: bytes) -> bytes:
    """Write `LENGTH KEY=VALUE` and a line feed; the length counts its own digits."""
    rest = b" %b=%b\n" % (key, value)
    size = len(rest) + len(str(len(rest)))
    size = len(rest) + len(str(size))
    return b"%d%b" % (size, rest)


def _ascii_field(text: bytes) -> bytes:
    """Cut a name for the ustar field beside its PAX record: ASCII only, no slash at the cut."""
    if text.isascii() and len(text) <= _NAME_BYTES:
        return text
    ascii_text = bytes(byte for byte in text if byte < 0x80)  # noqa: PLR2004
    if len(ascii_text) <= _NAME_BYTES:
        return ascii_text
    return ascii_text[:_NAME_BYTES].rstrip(b"/")
