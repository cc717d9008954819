"""Read tar archives from people who mean harm: ustar, PAX and GNU long names, with limits.

Everything is checked after the last header that can change it: sizes are never negative, names
hold no NUL and fit a path, numbers fit their type. What the reader does not know is an error, so
that no two readers can see different archives in the same bytes. It never seeks and keeps at most
a piece of the stream in memory.
"""

import os
from collections.abc import Callable, Iterator

from builder.errors import InvalidImage
from builder.layers.pax import Override, pax_override
from builder.layers.tar import BLOCK_BYTES, NS_PER_S, PIECE_BYTES, TYPE_FLAGS, Entry, Kind, padding
from builder.values import NamedTuple

_ZERO_BLOCK = bytes(BLOCK_BYTES)
_KINDS: dict[bytes, Kind] = {flag: kind for kind, flag in TYPE_FLAGS.items()} | {
    b"\0": "file",
    b"7": "file",
}
_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK, _LABEL = b"x", b"g", b"L", b"K", b"V"
_MAX_ID = 0xFFFF_FFFE
_MAX_MTIME_S = 1 << 40
_MAX_MODE = 0o7777
_BASE_256 = 0x80
_CACHED_OWNERS = 4096


class Limits(NamedTuple):
    """How much an archive may ask for; None is no limit."""

    path_bytes: int = 4096
    pax_bytes: int = 1 << 20
    extensions: int = 16
    """Headers in a row that only describe the next member."""
    entries: int = 5_000_000
    entry_bytes: int | None = None


class Reader:
    """Iterates over the members of an archive; the present one's content is read from here."""

    def __init__(self, read: Callable[[int], bytes], limits: Limits = Limits()) -> None:  # noqa: B008
        """Read from `read`, which gives up to so many bytes, and none at the end."""
        self._read = read
        self._limits = limits
        self._buffer = b""
        self._position = 0
        self._padding = 0
        self._owners: dict[bytes, tuple[int, int, int]] = {}
        self._entries = 0
        self.remaining = 0
        """Bytes of the present member's content that were not read yet."""

    def __iter__(self) -> Iterator[Entry]:
        """Give one member after the other; unread content is skipped."""
        while (entry := self._next()) is not None:
            yield entry

    def content(self) -> bytes:
        """Read what remains of the present member; for members known to be small."""
        content = self._exactly(self.remaining)
        self.remaining = 0
        return content

    def copy_to(self, fd: int) -> None:
        """Write what remains of the present member to a descriptor."""
        while self.remaining:
            piece = self.piece()
            while piece:
                piece = piece[os.write(fd, piece) :]

    def piece(self) -> memoryview:
        """Read some more of the present member's content; empty at its end."""
        if not self.remaining:
            return memoryview(b"")
        if self._position == len(self._buffer):
            self._fill()
        size = min(self.remaining, len(self._buffer) - self._position)
        piece = memoryview(self._buffer)[self._position : self._position + size]
        self._position += size
        self.remaining -= size
        return piece

    def drain(self) -> None:
        """Read the stream to its end, for those who digest it on the way."""
        self._buffer = b""
        while self._read(PIECE_BYTES):
            pass

    def _next(self) -> Entry | None:
        override = Override()
        for _ in range(self._limits.extensions + 1):
            self._skip()
            header = self._header()
            if header is None:
                if override != Override():
                    raise InvalidImage("the archive ends where a member was announced")
                return None
            flag = header[156:157]
            kind = _KINDS.get(flag)
            if kind is not None:
                return self._entry(header, kind, override)
            override = self._extension(flag, header, override)
        raise InvalidImage("the archive has too many extension headers in a row")

    def _extension(self, flag: bytes, header: bytes, override: Override) -> Override:
        size = _number(header[124:136])
        limit = self._limits.pax_bytes if flag in (_PAX, _GLOBAL) else self._limits.path_bytes + 1
        if flag not in (_PAX, _GLOBAL, _LONG_NAME, _LONG_LINK, _LABEL):
            raise InvalidImage(f"the archive holds a member of unknown type {flag!r}")
        if not 0 <= size <= limit:
            raise InvalidImage(f"the archive has an extension header of {size} bytes")
        content = self._exactly(size)
        self._padding = padding(size)
        if flag == _PAX:
            return pax_override(content, override)
        if flag == _LONG_NAME:
            return override._replace(path=content.rstrip(b"\0"))
        if flag == _LONG_LINK:
            return override._replace(link=content.rstrip(b"\0"))
        return override

    def _entry(self, header: bytes, kind: Kind, override: Override) -> Entry:
        name = override.path if override.path is not None else _name(header)
        link = override.link if override.link is not None else _text(header[157:257])
        size = override.size_bytes
        if size is None:
            size = _number(header[124:136])
        content_bytes = size if kind == "file" else 0
        self._check(name, link, content_bytes)
        if header[156] == 0 and name.endswith(b"/"):
            kind = "directory"  # as archives from before ustar say it
        mode_bits, uid, gid = self._owner(header)
        mtime_ns = override.mtime_ns
        if mtime_ns is None:
            mtime_ns = _clamped_s(_number(header[136:148])) * NS_PER_S
        self.remaining = content_bytes
        self._padding = padding(content_bytes)
        return Entry(
            os.fsdecode(name).rstrip("/"),
            kind,
            mode_bits,
            uid if override.uid is None else override.uid,
            gid if override.gid is None else override.gid,
            content_bytes if kind == "file" else 0,
            mtime_ns,
            os.fsdecode(link) if kind in ("symlink", "hardlink") else "",
            _device(header) if kind in ("char", "block") else (0, 0),
            override.xattrs,
        )

    def _check(self, name: bytes, link: bytes, size: int) -> None:
        limits = self._limits
        self._entries += 1
        if self._entries > limits.entries:
            raise InvalidImage(f"the archive has more than {limits.entries} members")
        if b"\0" in name or b"\0" in link:
            raise InvalidImage("the archive has a name with a NUL in it")
        if len(name) > limits.path_bytes or len(link) > limits.path_bytes:
            raise InvalidImage(f"the archive has a name longer than {limits.path_bytes} bytes")
        if size < 0:
            raise InvalidImage("the archive has a member of negative size")
        if limits.entry_bytes is not None and size > limits.entry_bytes:
            raise InvalidImage(f"the archive has a member of {size} bytes")

    def _owner(self, header: bytes) -> tuple[int, int, int]:
        """Read mode, uid and gid; most members share few combinations."""
        field = header[100:124]
        owner = self._owners.get(field)
        if owner is None:
            uid, gid = _number(field[8:16]), _number(field[16:24])
            if not (0 <= uid <= _MAX_ID and 0 <= gid <= _MAX_ID):
                raise InvalidImage("the archive has a member whose owner is no user or group")
            owner = _number(field[:8]) & _MAX_MODE, uid, gid
            if len(self._owners) < _CACHED_OWNERS:
                self._owners[field] = owner
        return owner

    def _header(self) -> bytes | None:
        """Read the next header block and check its sum; None at the end of the archive."""
        if self._position == len(self._buffer):
            self._buffer, self._position = self._read(PIECE_BYTES), 0
            if not self._buffer:
                return None
        header = self._exactly(BLOCK_BYTES)
        if header == _ZERO_BLOCK:
            self._check_end()
            return None
        expected = _number(header[148:156])
        total = sum(header.translate(None, b"\0")) - sum(header[148:156]) + 8 * ord(" ")
        if expected != total and expected != total - 256 * sum(b >= _BASE_256 for b in header):
            raise InvalidImage("this is no tar archive, or it is damaged: a header's sum is wrong")
        return header

    def _check_end(self) -> None:
        if self._position == len(self._buffer):
            self._buffer, self._position = self._read(PIECE_BYTES), 0
        rest = self._buffer[self._position : self._position + BLOCK_BYTES]
        if rest.strip(b"\0"):
            raise InvalidImage("the archive goes on after its end")

    def _skip(self) -> None:
        left = self.remaining + self._padding
        self.remaining = self._padding = 0
        while left:
            if self._position == len(self._buffer):
                self._fill()
            step = min(left, len(self._buffer) - self._position)
            self._position += step
            left -= step

    def _exactly(self, size: int) -> bytes:
        end = self._position + size
        if end <= len(self._buffer):
            content = self._buffer[self._position : end]
            self._position = end
            return content
        pieces = [self._buffer[self._position :]]
        missing = size - len(pieces[0])
        while missing:
            self._fill()
            pieces.append(self._buffer[:missing])
            self._position = len(pieces[-1])
            missing -= self._position
        return b"".join(pieces)

    def _fill(self) -> None:
        self._buffer, self._position = self._read(PIECE_BYTES), 0
        if not self._buffer:
            raise InvalidImage("the archive is cut off")


def _name(header: bytes) -> bytes:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """Read octal digits, or GNU's base 256: big-endian two's complement behind a set high bit."""
    if field[0] & _BASE_256:
        number = int.from_bytes(field, "big") & ~(_BASE_256 << 8 * (len(field) - 1))
        is_negative = field[0] & 0x40
        return number - (1 << 8 * len(field) - 1) if is_negative else number
    digits = field.partition(b"\0")[0].strip(b" ")
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise InvalidImage(f"the archive has {field!r} where a number belongs")


def _device(header: bytes) -> tuple[int, int]:
    major, minor = _number(header[329:337]), _number(header[337:345])
    if not (0 <= major <= 0xFFF and 0 <= minor <= 0xFFFFF):  # noqa: PLR2004 - Linux's dev_t
        raise InvalidImage("the archive has a device with impossible numbers")
    return major, minor


def _clamped_s(seconds: int) -> int:
    return max(-_MAX_MTIME_S, min(_MAX_MTIME_S, seconds))
