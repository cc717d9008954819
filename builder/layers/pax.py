"""Records of a PAX extended header: what they override in the member that follows.

Spec: POSIX.1-2017, pax, "pax Extended Header"; `SCHILY.xattr.` is star's.
"""

from builder.errors import InvalidImage
from builder.layers.tar import NS_PER_S, XATTR_RECORD
from builder.values import NamedTuple

_MAX_DIGITS = 20
_MAX_ID = 0xFFFF_FFFE
_MAX_MTIME_S = 1 << 40
_NS_DIGITS = 9
_XATTR = XATTR_RECORD.encode()
_SPARSE = b"GNU.sparse."


class Override(NamedTuple):
    """What extension headers said about the next member; None where they said nothing."""

    path: bytes | None = None
    link: bytes | None = None
    size_bytes: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()


def pax_override(content: bytes, override: Override) -> Override:
    """Read a PAX header over what earlier extension headers said; unknown keys mean nothing.

    Raises InvalidImage.
    """
    records = _records(content)
    if any(key.startswith(_SPARSE) for key in records):
        raise InvalidImage("the archive holds a sparse file, which layers cannot")
    xattrs = {
        key[len(_XATTR) :].decode("utf-8", "surrogateescape"): value
        for key, value in records.items()
        if key.startswith(_XATTR) and len(key) > len(_XATTR)
    }
    return Override(
        records.get(b"path") or override.path,
        records.get(b"linkpath") or override.link,
        _decimal(records, b"size", (1 << 62) - 1, override.size_bytes),
        _decimal(records, b"uid", _MAX_ID, override.uid),
        _decimal(records, b"gid", _MAX_ID, override.gid),
        _time_ns(records[b"mtime"]) if records.get(b"mtime") else override.mtime_ns,
        tuple(sorted(xattrs.items())) or override.xattrs,
    )


def _records(content: bytes) -> dict[bytes, bytes]:
    """Split `LENGTH KEY=VALUE` lines; every length must fit exactly."""
    records = {}
    position = 0
    while position < len(content):
        space = content.find(b" ", position, position + _MAX_DIGITS)
        digits = content[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        if end <= space + 1 or end > len(content) or content[end - 1] != ord("\n"):
            raise InvalidImage("the archive has a malformed PAX record")
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise InvalidImage("the archive has a malformed PAX record")
        records[key] = value
        position = end
    return records


def _decimal(
    records: dict[bytes, bytes], key: bytes, limit: int, otherwise: int | None
) -> int | None:
    text = records.get(key)
    if not text:
        return otherwise
    if not text.isdigit() or len(text) > _MAX_DIGITS or int(text) > limit:
        raise InvalidImage(f"the archive has a PAX {key.decode()} of {text[:40]!r}")
    return int(text)


def _time_ns(text: bytes) -> int:
    """Read seconds with a fraction, exactly: a float would lose nanoseconds."""
    whole, _, fraction = text.removeprefix(b"-").partition(b".")
    if not whole.isdigit() or (fraction and not fraction.isdigit()) or len(whole) > _MAX_DIGITS:
        raise InvalidImage(f"the archive has a PAX mtime of {text[:40]!r}")
    nanoseconds = int(fraction[:_NS_DIGITS].ljust(_NS_DIGITS, b"0") or 0)
    total = min(int(whole), _MAX_MTIME_S) * NS_PER_S + nanoseconds
    return -total if text.startswith(b"-") else total
