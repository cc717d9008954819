"""Beside a snapshot that may be patched later: the list of its layer's members.

An empty list asks for it to be made when the layer is written.
"""

import os

from builder.layers.members import Listed, Members, parse_members

_FILE = "members"


def ask(directory: str) -> None:
    """Have the members of a new snapshot's layer listed; `directory` is that of its changes."""
    with open(_path(directory), "xb"):
        pass


def is_asked(directory: str) -> bool:
    """Whether a list is wanted, or there already."""
    return os.path.exists(_path(directory))


def keep(directory: str, members: Members) -> None:
    """Write the list."""
    with open(_path(directory), "wb") as stream:
        stream.write(members.packed())


def listed(directory: str) -> Listed | None:
    """Read the list; None if there is none that is of use."""
    try:
        with open(_path(directory), "rb") as stream:
            return parse_members(stream.read())
    except FileNotFoundError:
        return None


def _path(directory: str) -> str:
    return f"{os.path.dirname(directory)}/{_FILE}"
