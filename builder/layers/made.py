"""What the copy of a client's directory came to, path by path: enough to tell the next one apart.

A record holds a content's digest, mode, owner and time. What a copy makes of hard links, devices
and sockets depends on more than that: such files are recorded as odd, and equal nothing.
"""

import os
import struct
from stat import S_IFDIR, S_IFMT, S_ISDIR, S_ISLNK, S_ISREG

from builder.layers.checksum import Checksums
from builder.layers.names import packed_names, split_names
from builder.layers.newfile import Metadata
from builder.layers.tree import Matcher, Node
from builder.oci.digest import sha256

_RECORD = struct.Struct("<32sIIIq")
_MODE = struct.Struct("<32xI")
ODD = b"\xff" * _RECORD.size
_NO_CONTENT = bytes(32)


class Made:
    """Records by path below the copied directory, parents before what is in them."""

    def __init__(self, packed: bytes = b"") -> None:
        """Read what `packed` wrote; anything else counts as empty."""
        self.records: dict[str, bytes] = {}
        self.has_odd = False
        paths, records = split_names(packed) or ([], b"")
        size = _RECORD.size
        if len(records) == len(paths) * size:
            starts = range(0, len(records), size)
            self.records = {p: records[s : s + size] for p, s in zip(paths, starts, strict=True)}

    def packed(self) -> bytes:
        """Write it down."""
        return packed_names(self.records) + b"".join(self.records.values())


def kind_of(record: bytes) -> int:
    """Tell the kind of file that a record is of, as S_IFMT does."""
    mode: int = _MODE.unpack_from(record)[0]
    return S_IFMT(mode)


def is_directory(record: bytes) -> bool:
    """Whether a record is that of a directory."""
    return kind_of(record) == S_IFDIR


def recorded(source: Checksums, top: Node, exclude: Matcher | None, metadata: Metadata) -> Made:
    """Record what a copy of a digested directory makes; reads nothing but links' targets."""
    made = Made()
    records = made.records
    uid, gid = metadata.owner or (0, 0)
    skip = len(top.path) + 1 if top.path else 0
    changes_mode = metadata.mode is not None
    pack, hashed = _RECORD.pack, source.hashed_content
    for path, status, _, _ in source.tree.walk(top, exclude):
        mode = status.st_mode
        content: bytes | None = None
        if S_ISREG(mode):
            known = hashed(path) if status.st_nlink == 1 else None
            content = None if known is None else known[1]
        elif S_ISDIR(mode):
            content = _NO_CONTENT
        elif S_ISLNK(mode):
            content = sha256(os.fsencode(source.tree.link(path))).digest()
        if content is None:
            made.has_odd = True
            records[path[skip:]] = ODD
            continue
        if changes_mode and not S_ISLNK(mode):
            mode = S_IFMT(mode) | metadata.mode_bits(mode)
        records[path[skip:]] = pack(content, mode, uid, gid, status.st_mtime_ns)
    return made
