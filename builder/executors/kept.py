"""What the copy of a client's directory leaves beside its snapshot, to begin the next one with."""

import os
from typing import Self

from builder.executors.bench import Bench
from builder.graph.ops import Files
from builder.graph.vertex import operation_key
from builder.layers.checksum import Checksums
from builder.layers.made import Made
from builder.oci.digest import key
from builder.store import member_lists
from builder.store.snapshotter import Active, Snapshot
from builder.values import NamedTuple

_MADE_FILE = "made"
_FEW_FILES = 100


class Kept(NamedTuple):
    """The last result of a step over a directory; without a snapshot there is none."""

    name: bytes
    snapshot: Snapshot | None
    place: str
    """Where the copy is in that snapshot, from the root."""
    made: Made

    @classmethod
    def of(cls, op: Files, context: str, tree: Checksums, bench: Bench) -> Self:
        """Find what the same step made of the same directory, if that is still there."""
        name = _name(op, context, tree)
        known = bench.store.records.memo(name)
        if known is None:
            return cls(name, None, "", Made())
        number, _, place = os.fsdecode(known).partition(" ")
        snapshot = bench.store.snapshots.find(int(number))
        if snapshot is None:
            return cls(name, None, "", Made())
        try:
            with open(_path(snapshot.diff), "rb") as stream:
                return cls(name, snapshot, place, Made(stream.read()))
        except OSError:
            return cls(name, None, "", Made())


def keep(name: bytes, made: Made, place: str, active: Active, bench: Bench) -> None:
    """Leave word for the next time, unless there is little to gain."""
    if made.count > _FEW_FILES:
        with open(_path(active.upper), "xb") as stream:
            stream.write(made.packed())
        member_lists.ask(active.upper)
        bench.store.records.remember(name, os.fsencode(f"{active.id} {place}"))


def _path(directory: str) -> str:
    return f"{os.path.dirname(directory)}/{_MADE_FILE}"


def _name(op: Files, context: str, tree: Checksums) -> bytes:
    status = tree.tree.root.status
    name = key("made/3", operation_key(op), context, f"{status.st_dev} {status.st_ino}")
    return name.encode()
