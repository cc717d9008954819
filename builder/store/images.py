"""Names and the images they stand for, kept in rows, and told to other tools in `index.json`.

An image is a manifest or an index in the content store. Its row outlives its last name (it is
dangling then) until it is pruned. `content/index.json` is written anew, atomically, at every
change, in the transaction of the rows, and again after a power cut: it never lacks what the user
was told, and should the database be lost, the images come back from it.

Each name gives two entries in `index.json`: one whose ref.name is the name as users write it, and,
for the newest image of each tag, one whose ref.name is the bare tag.
"""

import time
from collections.abc import Iterable, Sequence

from builder.errors import BuilderError, Conflict, NotFound, UsageError
from builder.oci.descriptor import (
    Descriptor,
)
from builder.oci.digest import SHA256_PREFIX, Digest, parse_digest
from builder.oci.reference import Reference, parse_reference
from builder.store import atomic, image_index
from builder.store.content import Content
from builder.store.database import Database, Row
from builder.store.documents import Documents
from builder.store.leases import Leases
from builder.store.paths import Paths
from builder.store.pins import Pins
from builder.values import NamedTuple

_HEX = frozenset("0123456789abcdef")
_COLUMNS = "digest, media_type, size_bytes, image_id, created_s"


class StoredImage(NamedTuple):
    """An image in the store. `descriptor` names its manifest or index, `names` may be empty.

    `image_id` is the digest of its config; of an index, that of the variant for this machine.
    """

    descriptor: Descriptor
    image_id: Digest
    names: tuple[Reference, ...]
    created_s: int


class Images(Documents):
    """The images of one state directory; methods may be called from any thread."""

    def __init__(
        self, paths: Paths, database: Database, content: Content, leases: Leases, pins: Pins
    ) -> None:
        """Keep the collaborators."""
        super().__init__(content)
        self._paths = paths
        self._database = database
        self._leases = leases
        self._pins = pins

    def tag(self, reference: Reference, descriptor: Descriptor) -> None:
        """Give an image a name, durably; the image that had it before may become dangling.

        All blobs of the image must be in the store, of an index those of one platform at least.
        """
        name = str(reference)
        row = self._database.one("SELECT digest FROM tags WHERE name = ?", name)
        if row is not None and row[0] == descriptor.digest and self._is_kept(descriptor.digest):
            return
        self._store(descriptor, name)

    def add(self, descriptor: Descriptor) -> None:
        """Keep an image without giving it a name, durably."""
        if not self._is_kept(descriptor.digest):
            self._store(descriptor, None)

    def untag(self, reference: Reference) -> bool:
        """Take a name away; return whether it was there. The image stays until it is pruned."""
        with self._database.transaction(is_durable=True):
            name = str(reference)
            if self._database.one("SELECT 1 FROM tags WHERE name = ?", name) is None:
                return False
            self._database.query("DELETE FROM tags WHERE name = ?", name)
            self.write_index()
        return True

    def remove(self, digest: Digest) -> tuple[Reference, ...]:
        """Take an image and all its names away; return the names. Its blobs go when collected."""
        with self._database.transaction(is_durable=True):
            names = self._names(digest)
            self._database.query("DELETE FROM tags WHERE digest = ?", digest)
            self._database.query("DELETE FROM images WHERE digest = ?", digest)
            self.write_index()
        return names

    def get(self, reference: Reference) -> StoredImage | None:
        """Find the image of a name and pin it; a digest in the reference must be the image's."""
        with self._leases.adding():
            row = self._row_of(reference)
            if row is None:
                return None
            self._leases.pin_image(Digest(row[0]))
        return self._image(row)

    def resolve(self, text: str) -> StoredImage | None:
        """Find what the user means: a name, an ID, or the beginning of an ID; pins it.

        Names come first. Raises Conflict if an ID's beginning fits several images.
        """
        try:
            found = self.get(parse_reference(text))
        except UsageError:
            found = None
        return found or self._by_id(text)

    def list(self) -> tuple[StoredImage, ...]:
        """List all images, the newest first; those without names are dangling."""
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM images ORDER BY created_s DESC, digest"  # noqa: S608
        )
        names: dict[str, list[Reference]] = {}
        for name, digest in self._database.query("SELECT name, digest FROM tags ORDER BY name"):
            names.setdefault(digest, []).append(parse_reference(name))
        return tuple(self._image(row, names.get(row[0], [])) for row in rows)

    def users(self, image: StoredImage) -> tuple[str, ...]:
        """List the containers that need an image, as `container:<id>`."""
        return self._pins.owners("image", image.descriptor.digest)

    def remember_source(self, reference: Reference, descriptor: Descriptor) -> None:
        """Keep what a registry's tag last stood for, and its blobs, as part of the cache."""
        self._leases.pin_image(descriptor.digest)
        now_s = int(time.time())
        self._database.query(
            "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?)",
            str(reference), descriptor.digest, descriptor.media_type, descriptor.size_bytes,
            now_s, now_s,
        )  # fmt: skip

    def source(self, reference: Reference) -> tuple[Descriptor, int] | None:
        """Tell what a registry's tag last stood for, and when that was asked (seconds, epoch)."""
        with self._leases.adding():
            row = self._database.one(
                "SELECT media_type, digest, size_bytes, checked_s FROM sources WHERE name = ?",
                str(reference),
            )
            if row is None:
                return None
            self._leases.pin_image(Digest(row[1]))
        self._database.query(
            "UPDATE sources SET last_used_s = max(last_used_s, ?) WHERE name = ?",
            int(time.time()), str(reference),
        )  # fmt: skip
        return Descriptor(row[0], Digest(row[1]), row[2]), row[3]

    def write_index(self, digests: Iterable[Digest] = ()) -> None:
        """Write `index.json` from the rows, inside the transaction that changed them.

        Its bytes become durable with the blobs given, but not its renaming: see `Recovery`.
        """
        with atomic.replaced(self._paths.index, self.index_document(), mode_bits=0o644) as beside:
            self._content.flush(digests, beside=beside)

    def index_document(self) -> bytes:
        """Give what `index.json` should hold."""
        return image_index.document(
            self._database.query(
                "SELECT digest, media_type, size_bytes, platform FROM images ORDER BY digest"
            ),
            self._database.query("SELECT name, digest FROM tags ORDER BY tagged_s DESC, name"),
        )

    def restore(self) -> None:
        """Make the rows anew from `index.json`, after the database was lost."""
        for name, descriptor in image_index.read(self._paths):
            try:
                reference = None if name is None else str(parse_reference(name))
                self._store(descriptor, reference)
            except BuilderError:
                continue  # it was not whole; what is whole comes back

    def _store(self, descriptor: Descriptor, name: str | None) -> None:
        self._leases.pin_image(descriptor.digest)
        parts = list(self.closure(descriptor))
        image_id = self._checked_id(descriptor)
        digests = [part.digest for part in parts]
        self._content.flush_ahead(digests)  # while nobody is kept from writing rows
        platform = "" if descriptor.platform is None else str(descriptor.platform)
        now_s = int(time.time())
        with self._database.transaction(is_durable=True):
            self._database.query(
                "INSERT OR IGNORE INTO images VALUES (?, ?, ?, ?, ?, ?)",
                descriptor.digest, descriptor.media_type, descriptor.size_bytes, image_id,
                platform, now_s,
            )  # fmt: skip
            if name is not None:
                self._database.query(
                    "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)", name, descriptor.digest, now_s
                )
            self.write_index(digests)

    def _checked_id(self, descriptor: Descriptor) -> Digest:
        """Give the image's ID; raise NotFound if the image is not whole."""
        inner, manifest = self.any_manifest(descriptor)
        self._check_whole([inner, manifest.config, *manifest.layers])
        return manifest.config.digest

    def _check_whole(self, parts: Sequence[Descriptor]) -> None:
        for part in parts:
            if self._content.size(part.digest) != part.size_bytes:
                raise NotFound(f"blob {part.digest} is incomplete", fix="pull the image again")

    def _is_kept(self, digest: Digest) -> bool:
        return self._database.one("SELECT 1 FROM images WHERE digest = ?", digest) is not None

    def _row_of(self, reference: Reference) -> Row | None:
        if reference.digest is not None:
            return self._row_of_digest(reference)
        return self._database.one(
            f"SELECT {_COLUMNS} FROM images WHERE digest ="  # noqa: S608
            " (SELECT digest FROM tags WHERE name = ?)",
            str(reference),
        )

    def _row_of_digest(self, reference: Reference) -> Row | None:
        """Find an image by its own digest, if some name of it is in the reference's repository."""
        prefix = reference.name
        names = self._database.query("SELECT name FROM tags WHERE digest = ?", reference.digest)
        if not any(parse_reference(row[0]).name == prefix for row in names):
            return None
        return self._database.one(
            f"SELECT {_COLUMNS} FROM images WHERE digest = ?",  # noqa: S608
            reference.digest,
        )

    def _by_id(self, text: str) -> StoredImage | None:
        prefix = text.removeprefix(SHA256_PREFIX)
        if not prefix or not _HEX.issuperset(prefix):
            return None
        low, high = SHA256_PREFIX + prefix, SHA256_PREFIX + prefix + "g"
        with self._leases.adding():
            rows = self._database.query(
                f"SELECT {_COLUMNS} FROM images"  # noqa: S608
                " WHERE digest BETWEEN ?1 AND ?2 OR image_id BETWEEN ?1 AND ?2"
                " ORDER BY created_s DESC",
                low,
                high,
            )
            ids = {row[0] if row[0].startswith(low) else row[3] for row in rows}
            if len(ids) > 1:
                raise Conflict(f"{text!r} fits several images", fix="write more of the ID")
            if not rows:
                return None
            self._leases.pin_image(Digest(rows[0][0]))
        return self._image(rows[0])

    def _names(self, digest: str) -> tuple[Reference, ...]:
        rows = self._database.query("SELECT name FROM tags WHERE digest = ? ORDER BY name", digest)
        return tuple(parse_reference(row[0]) for row in rows)

    def _image(self, row: Row, names: Sequence[Reference] | None = None) -> StoredImage:
        found = self._names(row[0]) if names is None else tuple(names)
        descriptor = Descriptor(row[1], parse_digest(row[0]), row[2])
        return StoredImage(descriptor, Digest(row[3]), found, row[4])
