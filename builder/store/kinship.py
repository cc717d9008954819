"""Which snapshots share files: a file that was given one more name, instead of being copied.

That saves time and space, and nobody can tell, as long as no tree shows two names of it that are
not meant to be one file. So each snapshot says beside its directory whose files it has: pairs of a
snapshot's number and the path there below which they are.
"""

import os
from collections.abc import Iterable

_FILE = "kin"

Kin = frozenset[tuple[int, str]]


def note(directory: str, kin: Kin) -> None:
    """Write down whose files the snapshot in a directory has."""
    if kin:
        fields = [field for number, path in sorted(kin) for field in (str(number), path)]
        with open(f"{directory}/{_FILE}", "wb") as out:
            out.write(os.fsencode("\0".join(fields)))


def kin_of(directory: str) -> Kin:
    """Read whose files the snapshot in a directory has."""
    try:
        with open(f"{directory}/{_FILE}", "rb") as file:
            fields = os.fsdecode(file.read()).split("\0")
    except FileNotFoundError:
        return frozenset()
    return frozenset(zip(map(int, fields[::2]), fields[1::2], strict=True))


def are_related(some: Iterable[tuple[int, str]], others: Kin) -> bool:
    """Whether a file may belong to both."""
    return any(
        number == other and (_is_below(path, other_path) or _is_below(other_path, path))
        for number, path in some
        for other, other_path in others
    )


def _is_below(path: str, other: str) -> bool:
    return not other or path == other or path.startswith(f"{other}/")
