"""Lists of manifests that are being put together: a small file each, by name, until it is removed.

The files are the truth: collection asks them what it must keep, so a list that was never pushed
outlives every prune, and a lost database as well.
"""

import os

from builder.errors import BuilderError
from builder.oci import json
from builder.oci.descriptor import Descriptor, descriptor_json, parse_descriptor
from builder.oci.digest import Digest, digest_of, hex_of
from builder.oci.reference import Reference, parse_reference
from builder.store import atomic
from builder.store.failure import translated
from builder.store.paths import Paths
from builder.values import NamedTuple

MAX_ENTRIES = 1000
_SUFFIX = ".json"


class ListEntry(NamedTuple):
    """One manifest of a list, and the reference by which it is fetched."""

    descriptor: Descriptor
    source: str


class NamedList(NamedTuple):
    """A list and its name."""

    reference: Reference
    entries: tuple[ListEntry, ...]


class Lists:
    """The lists of one state directory."""

    def __init__(self, paths: Paths) -> None:
        """Keep where they are; the directory may not exist yet."""
        self._paths = paths

    def get(self, reference: Reference) -> tuple[ListEntry, ...] | None:
        """Read a list; None if there is none."""
        content = self._read(self._path(reference))
        return None if content is None else parse_list(content).entries

    def save(self, reference: Reference, entries: tuple[ListEntry, ...]) -> None:
        """Write a list, durably."""
        with translated(self._paths.lists):
            os.makedirs(self._paths.lists, 0o700, exist_ok=True)  # older stores lack it
        atomic.write(self._path(reference), list_json(NamedList(reference, entries)))

    def remove(self, reference: Reference) -> bool:
        """Forget a list; whether there was one."""
        path = self._path(reference)
        with translated(path):
            try:
                os.unlink(path)
            except FileNotFoundError:
                return False
        return True

    def all(self) -> list[NamedList]:
        """Read all lists, in the order of their names; those that are not whole are left out."""
        found = []
        with translated(self._paths.lists):
            try:
                names = os.listdir(self._paths.lists)
            except FileNotFoundError:
                return []
        for name in names:
            if not name.endswith(_SUFFIX):
                continue  # one that is being written
            content = self._read(f"{self._paths.lists}/{name}")
            try:
                found += [] if content is None else [parse_list(content)]
            except BuilderError:
                continue
        return sorted(found, key=lambda one: str(one.reference))

    def marks(self) -> set[Digest]:
        """Name the manifests that lists need, whether they are here or not."""
        return {entry.descriptor.digest for one in self.all() for entry in one.entries}

    def _path(self, reference: Reference) -> str:
        name = hex_of(digest_of(str(reference).encode()))
        return f"{self._paths.lists}/{name}{_SUFFIX}"

    def _read(self, path: str) -> bytes | None:
        with translated(path):
            try:
                with open(path, "rb") as file:
                    return file.read()
            except FileNotFoundError:
                return None


def parse_list(content: bytes) -> NamedList:
    """Read the JSON of a list; raise InvalidImage."""
    value = json.load_object(content, what="a list of manifests")
    entries = tuple(
        ListEntry(
            parse_descriptor(json.member(one, "descriptor") or {}), json.string(one, "source")
        )
        for one in json.members(value, "entries", limit=MAX_ENTRIES)
    )
    return NamedList(parse_reference(json.string(value, "name")), entries)


def list_json(named: NamedList) -> bytes:
    """Write the JSON of a list."""
    entries = [
        {"descriptor": descriptor_json(one.descriptor), "source": one.source}
        for one in named.entries
    ]
    return json.dumps({"name": str(named.reference), "entries": entries})
