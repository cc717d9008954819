"""Where an image can be: a registry, a layout, an archive, a directory, the store.

Spec: containers-transports(5).
"""

import os

from builder.errors import UsageError
from builder.oci.transport import FILE_TRANSPORTS
from builder.text import nearest
from builder.values import NamedTuple

STORE = "store"
TRANSPORTS = ("docker", *FILE_TRANSPORTS, STORE)


class Place(NamedTuple):
    """One image in one place. `location` is a path, or a reference for registries and the store."""

    transport: str
    location: str
    name: str = ""
    """A tag in a layout, a reference in an archive; empty for the only image there."""

    @property
    def is_archive(self) -> bool:
        """Whether it is one file."""
        return self.transport.endswith("archive")


def parse_place(text: str) -> Place:
    """Read `transport:location[:name]`; a bare name is one of the store.

    A location that exists as written has no name.

    Raises UsageError.
    """
    transport, colon, rest = text.partition(":")
    if not colon or transport not in TRANSPORTS:
        if rest.startswith("//"):
            guess = nearest(transport, TRANSPORTS)
            raise UsageError(
                f"{transport!r} is not a transport",
                fix=f"did you mean {guess}?" if guess else f"use {', '.join(TRANSPORTS)}",
            )
        return Place(STORE, text)
    if transport == "docker":
        if not rest.startswith("//"):
            raise UsageError(f"{text!r} lacks slashes", fix=f"write docker://{rest.lstrip('/')}")
        return Place(transport, rest[2:])
    if transport == STORE:
        return Place(transport, rest)
    location, name = (rest, "") if transport == "dir" else _named(rest)
    if not location:
        raise UsageError(f"{text!r} names no path", fix=f"write {transport}:PATH")
    return Place(transport, location, name)


def _named(text: str) -> tuple[str, str]:
    if os.path.exists(text):
        return text, ""
    location, _, name = text.partition(":")
    return location, name
