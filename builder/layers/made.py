"""What the copy of a client's directory came to, path by path: enough to tell the next one apart.

A record holds a content's digest, mode, owner and time. What a copy makes of hard links, devices
and sockets depends on more than that: such files are recorded as odd, and equal nothing. Records
are kept by directory, so that those of a directory that has not changed are taken over unread.
"""

import os
import struct
from collections.abc import Iterable
from stat import S_IFDIR, S_IFMT, S_ISDIR, S_ISLNK, S_ISREG

from builder.layers.checksum import Checksums
from builder.layers.context import ContextTree
from builder.layers.memo import UNKNOWN
from builder.layers.names import encoded, joined
from builder.layers.newfile import Metadata
from builder.layers.sealed import sealed, unsealed
from builder.layers.tree import Matcher, Node
from builder.oci.digest import sha256
from builder.values import NamedTuple

_RECORD = struct.Struct("<32sIIIq")
_MODE = struct.Struct("<32xI")
ODD = b"\xff" * _RECORD.size
_MAGIC = b"made3\0\0\0"


class Recorded(NamedTuple):
    """The records of one directory."""

    state: bytes
    """What they were made from; empty if that is not known."""
    names: bytes
    """Separated by NUL; an empty name is that of the directory itself."""
    records: bytes


class Made:
    """Records by path below the copied directory, parents before what is in them."""

    def __init__(self, packed: bytes = b"") -> None:
        """Read what `packed` wrote; anything else counts as empty."""
        rows = unsealed(_MAGIC, packed) or ()
        self.folders = {path: Recorded(*fields) for path, *fields in rows}
        self.has_odd = False
        self._records: dict[str, bytes] | None = None

    @property
    def records(self) -> dict[str, bytes]:
        """All records by path."""
        if self._records is None:
            self._records = self.records_of(self.folders)
        return self._records

    @property
    def count(self) -> int:
        """How many records there are."""
        return sum(len(folder.records) for folder in self.folders.values()) // _RECORD.size

    def records_of(self, directories: Iterable[str]) -> dict[str, bytes]:
        """Give the records of some directories, those that are not there left out."""
        found = {}
        for directory in directories:
            folder = self.folders.get(directory)
            if folder is None or not folder.records:
                continue
            starts = range(0, len(folder.records), _RECORD.size)
            for name, start in zip(os.fsdecode(folder.names).split("\0"), starts, strict=True):
                path = joined(directory, name) if name else directory
                found[path] = folder.records[start : start + _RECORD.size]
        return found

    def add(self, directory: str, state: bytes, records: dict[str, bytes]) -> None:
        """Add the records of a directory, by name."""
        rows = b"".join(records.values())
        self.folders[directory] = Recorded(state, encoded(records), rows)
        self.has_odd = self.has_odd or ODD in records.values()

    def packed(self) -> bytes:
        """Write it down."""
        return sealed(_MAGIC, [(path, *folder) for path, folder in self.folders.items()])


def kind_of(record: bytes) -> int:
    """Tell the kind of file that a record is of, as S_IFMT does."""
    mode: int = _MODE.unpack_from(record)[0]
    return S_IFMT(mode)


def is_directory(record: bytes) -> bool:
    """Whether a record is that of a directory."""
    return kind_of(record) == S_IFDIR


def recorded(
    source: Checksums, top: Node, exclude: Matcher | None, metadata: Metadata, earlier: Made
) -> Made:
    """Record what a copy of a digested directory makes; reads nothing but links' targets.

    `earlier` is what the same copy, with the same metadata, came to some other time.
    """
    made, recorder = Made(), _Recorder(source, metadata)
    skip = len(top.path) + 1 if top.path else 0
    if isinstance(source, ContextTree) and exclude is None:
        for path, part, is_hollow in source.sections(top):
            below = path[skip:]
            known = earlier.folders.get(below)
            if part.state and known is not None and known.state == part.state:
                made.folders[below] = known
                continue
            records = recorder.listed(path)
            if is_hollow:
                node = source.tree.find(path, follow_last=False)
                assert node is not None  # noqa: S101 - it was met on the walk
                records = {"": recorder.record(node), **records}
            made.add(below, part.state, records)
        return made
    found: dict[str, dict[str, bytes]] = {}
    for visit in source.tree.walk(top, exclude):
        directory = visit.path[skip : -len(visit.name) - 1]
        record = recorder.record(Node(visit.path, visit.status))
        found.setdefault(directory, {})[visit.name] = record
    for directory, records in found.items():
        made.add(directory, b"", records)
    return made


class _Recorder:
    """Makes the records of files in one tree."""

    def __init__(self, source: Checksums, metadata: Metadata) -> None:
        self._source = source
        self._metadata = metadata
        self._uid, self._gid = metadata.owner or (0, 0)

    def listed(self, directory: str) -> dict[str, bytes]:
        """Record what is in a directory, but directories that only lead to what is shown."""
        tree = self._source.tree
        nodes = {
            name: Node(joined(directory, name), status)
            for name, status in tree.listing(directory).items()
        }
        return {
            name: self.record(node)
            for name, node in nodes.items()
            if not (node.is_directory and tree.is_hollow(node.path))
        }

    def record(self, node: Node) -> bytes:
        """Record one file."""
        path, status = node
        mode = status.st_mode
        content: bytes | None = None
        if S_ISREG(mode):
            known = self._source.hashed_content(path) if status.st_nlink == 1 else None
            content = None if known is None else known[1]
        elif S_ISDIR(mode):
            content = UNKNOWN
        elif S_ISLNK(mode):
            content = sha256(os.fsencode(self._source.tree.link(path))).digest()
        if content is None:
            return ODD
        if self._metadata.mode is not None and not S_ISLNK(mode):
            mode = S_IFMT(mode) | self._metadata.mode_bits(mode)
        return _RECORD.pack(content, mode, self._uid, self._gid, status.st_mtime_ns)
