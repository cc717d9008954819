"""Names of files in the order that archives and digests need."""

import os
from collections.abc import Iterable


def bytewise(names: Iterable[str]) -> list[str]:
    """Sort names as their bytes sort, whatever they are in."""
    ordered = sorted(names)
    if "".join(ordered).isascii():
        return ordered
    return sorted(ordered, key=os.fsencode)


def joined(directory: str, name: str) -> str:
    """Put a name behind a directory's path, which is empty for the root."""
    return f"{directory}/{name}" if directory else name
