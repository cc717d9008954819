"""One member of a tar archive, as a value, and what reader and writer both know of the format.

Spec: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block".
"""

from typing import Literal

from builder.values import NamedTuple

Kind = Literal["file", "directory", "symlink", "hardlink", "char", "block", "fifo"]

BLOCK_BYTES = 512
PIECE_BYTES = 1 << 20
"""How much of a stream is held in memory at a time."""
BUFFER_BYTES = 512 << 10
"""A block of a stream that is compressed: as large as both fits a cache and is worth a thread."""

NS_PER_S = 1_000_000_000
XATTR_RECORD = "SCHILY.xattr."
WHITEOUT_PREFIX = ".wh."
OPAQUE_MARKER = ".wh..wh..opq"

TYPE_FLAGS: dict[Kind, bytes] = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "directory": b"5",
    "fifo": b"6",
}


class Entry(NamedTuple):
    """A member: its name without the trailing slash of a directory, its kind and its metadata.

    `size_bytes` is of the content that follows (0 for all but files), `link_name` the target of a
    symbolic link as it is, or of a hard link as a path in the archive.
    """

    name: str
    kind: Kind = "file"
    mode_bits: int = 0o644
    uid: int = 0
    gid: int = 0
    size_bytes: int = 0
    mtime_ns: int = 0
    link_name: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()


def deleted_name(name: str) -> str | None:
    """Read a member's name as a deletion: the path that goes; None for an ordinary name.

    Spec: OCI image-spec, layer.md, "Whiteouts".
    """
    directory, slash, last = name.rpartition("/")
    if not last.startswith(WHITEOUT_PREFIX):
        return None
    return f"{directory}{slash}{last.removeprefix(WHITEOUT_PREFIX)}"


def padding(size_bytes: int) -> int:
    """Count the bytes that fill content up to a whole block."""
    return -size_bytes % BLOCK_BYTES
