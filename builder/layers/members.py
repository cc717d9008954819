"""Where the members of a layer's tar archive are: names in the order of the walk, and their sizes.

It lets the next layer be made from this one where little has changed, see `splice`. With it goes
where the compressed blocks of the layer's blob are. Names stay bytes, in one piece: there are
thousands, of which hardly any is looked at.
"""

import os
from array import array
from collections.abc import Callable

from builder.layers.blocks import Blocks
from builder.layers.names import encoded
from builder.layers.sealed import sealed, unsealed
from builder.layers.tar import BLOCK_BYTES, Entry, deleted_name

_MAX_MEMBERS = 500_000
_TYPE = "I"
_MAGIC = b"members2"
_END = b"\0"


class Members:
    """Notes the members of an archive as it is written, all but the trailer."""

    def __init__(self) -> None:
        """Begin with none."""
        self._parts: list[bytes] = []
        self._names: list[str] = []
        self._blocks = array(_TYPE)
        self._is_plain = True
        self.index: Blocks | None = None
        """Of the blob that holds them."""

    def add(self, entry: Entry, size_bytes: int) -> None:
        """Note the next member, its size that of header and content together."""
        self._names.append(entry.name)
        self._blocks.append(size_bytes // BLOCK_BYTES)
        if entry.kind == "hardlink" or deleted_name(entry.name) is not None:
            self._is_plain = False

    def extend(self, names: bytes, blocks: "array[int]") -> None:
        """Take over members of another archive's list, as they are there."""
        self._flush()
        self._parts.append(names)
        self._blocks += blocks

    def packed(self) -> bytes:
        """Write it down; nothing if it is of no use to a later layer.

        That needs each member to stand for itself: no hard links to others, no deletions.
        """
        if not self._is_plain or len(self._blocks) > _MAX_MEMBERS:
            return b""
        self._flush()
        index = None if self.index is None else tuple(self.index)
        return sealed(_MAGIC, (b"".join(self._parts), self._blocks.tobytes(), index))

    def _flush(self) -> None:
        if self._names:
            self._names.append("")
            self._parts.append(encoded(self._names))
            self._names = []


class Listed:
    """The members of an archive that is there; each is known by the offset of its name."""

    def __init__(self, names: bytes, blocks: "array[int]", index: Blocks | None) -> None:
        """Take names, each with its end, and sizes in blocks."""
        self.names = names
        self.blocks = blocks
        self.index = index

    def position(self, name: str) -> tuple[int, bool]:
        """Say where a name is, or would be, and whether it is there."""
        path = os.fsencode(name)
        order = path.split(b"/")
        at = self._bisect(lambda other: other < order)
        return at, self.names.startswith(path + _END, at)

    def next(self, at: int) -> int:
        """Say where the next member is."""
        return self.names.index(_END, at) + 1

    def end(self, at: int) -> int:
        """Say where the members end that are below one, itself included."""
        order = self.names[at : self.names.index(_END, at)].split(b"/")
        return self._bisect(lambda other: other[: len(order)] <= order)

    def _bisect(self, is_before: Callable[[list[bytes]], bool]) -> int:
        """Find the first name that is not before what is looked for; names are in order."""
        low, high = 0, len(self.names)
        while low < high:
            middle = (low + high) // 2
            start = max(low, self.names.rfind(_END, low, middle) + 1)
            end = self.names.index(_END, middle)
            if is_before(self.names[start:end].split(b"/")):
                low = end + 1
            else:
                high = start
        return low


def parse_members(packed: bytes) -> Listed | None:
    """Read what `packed` wrote; None for anything else, and for what is of no use."""
    found = unsealed(_MAGIC, packed)
    if found is None:
        return None
    names, sizes, index = found
    blocks = array(_TYPE)
    blocks.frombytes(sizes)
    if names.count(_END) != len(blocks):
        return None
    return Listed(names, blocks, None if index is None else Blocks(*index))
