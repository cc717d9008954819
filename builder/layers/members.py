"""Where the members of a layer's tar archive are: names in the order of the walk, and their sizes.

It lets the next layer be made from this one where little has changed, see `splice`.
"""

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterable

from builder.layers.names import packed_names, split_names
from builder.layers.tar import BLOCK_BYTES, Entry, deleted_name

_MAX_MEMBERS = 500_000
_TYPE = "I"


class Members:
    """Names and sizes in blocks, header and content together, of all members but the trailer."""

    def __init__(self, names: Iterable[str] = (), blocks: Iterable[int] = ()) -> None:
        """Begin with what is known."""
        self.names = list(names)
        self.blocks = array(_TYPE, blocks)
        self.is_plain = True
        """Whether each member stands for itself: no hard links to others, no deletions."""

    def add(self, entry: Entry, size_bytes: int) -> None:
        """Note the next member."""
        self.names.append(entry.name)
        self.blocks.append(size_bytes // BLOCK_BYTES)
        if entry.kind == "hardlink" or deleted_name(entry.name) is not None:
            self.is_plain = False

    def position(self, name: str) -> tuple[int, bool]:
        """Say which member a name is, or would be, and whether it is there."""
        at = bisect_left(self.names, _order(name), key=_order)
        return at, at < len(self.names) and self.names[at] == name

    def end(self, at: int) -> int:
        """Say where the members end that are below one, itself included."""
        below = f"{self.names[at]}/"
        end = at + 1
        while end < len(self.names) and self.names[end].startswith(below):
            end += 1
        return end

    def size_bytes(self, start: int, end: int) -> int:
        """Add up the sizes of a range."""
        return sum(self.blocks[start:end]) * BLOCK_BYTES

    def extend(self, other: "Members", start: int, end: int) -> None:
        """Take over a range of another archive's members."""
        self.names += other.names[start:end]
        self.blocks += other.blocks[start:end]

    def packed(self) -> bytes:
        """Write it down; nothing if it is of no use to a later layer."""
        if not self.is_plain or len(self.names) > _MAX_MEMBERS:
            return b""
        return packed_names(self.names) + self.blocks.tobytes()


def parse_members(packed: bytes) -> Members | None:
    """Read what `packed` wrote; None for anything else, and for what is of no use."""
    found, blocks = split_names(packed), array(_TYPE)
    if found is None or len(found[1]) != len(found[0]) * blocks.itemsize:
        return None
    blocks.frombytes(found[1])
    return Members(found[0], blocks)


def _order(name: str) -> list[bytes]:
    """Order names as the walk meets them."""
    return os.fsencode(name).split(b"/")
