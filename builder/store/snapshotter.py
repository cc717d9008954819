"""File-system states as values, and what makes trees of their directories."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from builder.values import NamedTuple


class Snapshot(NamedTuple):
    """A committed state. `diff` is the directory of its own changes, in overlay's format.

    A patch is a state whose layer holds its parent's changes as well, as it corrects them. The
    changes may be in the directory of another state: `origin` is the number of whose it is.
    """

    id: int
    parent: int | None
    diff: str
    depth: int
    origin: int
    is_patch: bool = False


class Active(NamedTuple):
    """A state being written.

    The tree is an overlay of `lowers` (top first) and `upper`; without lowers it is `upper`.
    """

    id: int
    parent: int | None
    upper: str
    work: str
    lowers: tuple[str, ...]


class Snapshotter(Protocol):
    """Makes trees of directories; knows no rows."""

    is_overlay: bool
    """Whether a tree is a stack of directories, which may be in several stacks."""

    def make(self, directory: str, chain: Sequence[Snapshot], *, is_diff: bool) -> None:
        """Lay out the new directory of an active snapshot on top of a chain, lowest first.

        With `is_diff` the caller wants an empty directory to fill in overlay's format.
        """
        ...

    def active(self, snapshot_id: int, directory: str, chain: Sequence[Snapshot]) -> Active:
        """Describe an active snapshot that was laid out."""
        ...

    def seal(self, active: Active, directory: str, chain: Sequence[Snapshot]) -> None:
        """Turn the directory of an active snapshot into that of a committed one."""
        ...

    def lowers(self, chain: Sequence[Snapshot]) -> tuple[str, ...]:
        """List the directories that make up the tree, top first; none for an empty chain."""
        ...

    def viewed(self, lowers: Sequence[str]) -> AbstractContextManager[int]:
        """Open the merged tree of some lowers; of none, an empty directory."""
        ...

    def mounted(self, active: Active) -> AbstractContextManager[int]:
        """Open the merged tree of an active snapshot for writing; may be done several times."""
        ...
