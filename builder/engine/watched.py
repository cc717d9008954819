"""What a build read of the client: if all of it is as it was, building again changes nothing."""

import os
from collections.abc import Callable, Iterable

from builder.values import NamedTuple

Seen = Iterable[tuple[str, os.stat_result]]


class Watched(NamedTuple):
    """Files and directory trees with the stats of the moment in which they were read.

    `files` may be absent (None): they would have counted. Each root lists paths below it, the root
    itself as the empty path; it is listed only when somebody asks. `since_ns` (Unix time) is before
    everything was read: of a file that had just changed the stats may not tell of another change.
    """

    since_ns: int
    files: tuple[tuple[str, os.stat_result | None], ...] = ()
    roots: tuple[tuple[str, Callable[[], Seen]], ...] = ()


def observed(path: str) -> tuple[str, os.stat_result | None]:
    """Give a path with its stats, None if nothing is there; links are followed."""
    path = os.path.abspath(path)
    try:
        return path, os.stat(path)
    except OSError:
        return path, None
