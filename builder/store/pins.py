"""What containers need for as long as they exist: images and snapshots, by owner.

An owner reads `container:<id>`; it counts while `containers/<id>` exists.
"""

import os
from collections.abc import Collection, Sequence
from typing import Literal

from builder.oci.digest import Digest
from builder.store.database import Database
from builder.store.paths import Paths
from builder.store.snapshots import CONTAINER

Kind = Literal["image", "snapshot"]


class Pins:
    """The persistent references of one state directory."""

    def __init__(self, paths: Paths, database: Database) -> None:
        """Keep the collaborators."""
        self._paths = paths
        self._database = database

    def add(
        self, owner: str, *, images: Sequence[Digest] = (), snapshots: Sequence[int] = ()
    ) -> None:
        """Keep images (by manifest digest) and snapshots until the owner is dropped. Durable."""
        with self._database.transaction(is_durable=True):
            self._database.query_many(
                "INSERT OR IGNORE INTO pins VALUES (?, ?, ?)",
                [
                    *((owner, "image", digest) for digest in images),
                    *((owner, "snapshot", str(snapshot)) for snapshot in snapshots),
                ],
            )

    def drop(self, owner: str) -> None:
        """Forget all that an owner needed."""
        self._database.query("DELETE FROM pins WHERE owner = ?", owner)

    def owners(self, kind: Kind, name: str) -> tuple[str, ...]:
        """List who needs an image or a snapshot."""
        rows = self._database.query(
            "SELECT owner FROM pins WHERE kind = ? AND name = ? ORDER BY owner", kind, name
        )
        return tuple(row[0] for row in rows if self.is_alive(row[0]))

    def marks(self, gone: Collection[str] = ()) -> tuple[set[Digest], set[int]]:
        """List the images and snapshots that living owners need, but for some as if they went."""
        images: set[Digest] = set()
        snapshots: set[int] = set()
        for owner, kind, name in self._database.query("SELECT owner, kind, name FROM pins"):
            if owner in gone or not self.is_alive(owner):
                continue
            if kind == "image":
                images.add(Digest(name))
            else:
                snapshots.add(int(name))
        return images, snapshots

    def is_alive(self, owner: str) -> bool:
        """Whether an owner still exists."""
        name = owner.removeprefix(CONTAINER)
        return name != owner and os.path.isdir(f"{self._paths.containers}/{name}")
