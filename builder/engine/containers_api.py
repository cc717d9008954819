"""The engine's use cases about containers; the engine is one of these.

The modules that do the work load when they are first needed.
"""

import os
from typing import TYPE_CHECKING

from builder.errors import NotFound
from builder.kernel.namespaces import Privileges
from builder.oci.digest import Digest
from builder.oci.platform import Platform, parse_platform
from builder.oci.reference import parse_reference
from builder.oci.transport import is_file
from builder.store.images import StoredImage
from builder.store.store import Store

if TYPE_CHECKING:
    from builder.containers.creation import ImageFound
    from builder.containers.request import Attachment, ContainerRequest
    from builder.containers.service import Containers


class ContainerUseCases:
    """What can be done with the containers of a store."""

    store: Store
    privileges: Privileges
    platform: Platform
    _containers: "Containers | None" = None

    def warn(self, text: str) -> None:
        """Tell the user something that is no failure."""
        raise NotImplementedError

    @property
    def containers(self) -> "Containers":
        """All further use cases of containers."""
        if self._containers is None:
            from builder.containers.creation import workplace
            from builder.containers.service import Containers

            self._containers = Containers(
                workplace(self.store), self.privileges, find_image=self._found, warn=self.warn
            )
        return self._containers

    def run(self, request: "ContainerRequest", attachment: "Attachment") -> int:
        """Run a container in the foreground; its exit status."""
        return self.containers.run(request, attachment)

    def run_detached(self, request: "ContainerRequest") -> str:
        """Run a container in the background; its id."""
        return self.containers.run_detached(request)

    def _found(self, request: "ContainerRequest") -> "ImageFound":
        """Find the image of a request, loading or pulling it if need be, and unpack it."""
        from builder.containers.assembly import Base
        from builder.containers.creation import ImageFound
        from builder.store.unpack import find_unpacked, unpack_image

        platform = parse_platform(request.platform) if request.platform else self.platform
        image = self._image(request, platform)
        descriptor, manifest = self.store.images.manifest(image.descriptor, platform)
        config = self.store.images.config(manifest)
        snapshot = find_unpacked(self.store, config.diff_ids) if config.diff_ids else None
        if snapshot is None and config.diff_ids:
            snapshot = unpack_image(self.store, manifest, config)
        base = Base(
            descriptor.digest,
            manifest.config.digest,
            None if snapshot is None else snapshot.id,
            str(config.platform),
        )
        return ImageFound(base, config.config, config.platform)

    def _image(self, request: "ContainerRequest", platform: Platform) -> StoredImage:
        if _is_archive(request.image):
            return self._loaded(request.image, platform)
        image = None if request.pull == "always" else self.store.images.resolve(request.image)
        if image is not None:
            return image
        if is_file(request.image):
            return self._placed(request.image)
        reference = parse_reference(request.image.removeprefix("docker://"))
        if request.pull == "never":
            raise NotFound(
                f"No such image: {reference.familiar}",
                fix=f"pull it first: builder pull {reference.familiar}",
            )
        return self.pull_for_run(str(reference), platform)

    def pull_for_run(self, image: str, platform: Platform) -> StoredImage:
        """Pull an image that is not here."""
        raise NotImplementedError

    def _placed(self, name: str) -> StoredImage:
        """Give the image of a layout, an archive or a directory, named by its transport."""
        from builder.engine.place_files import name_of, read_files
        from builder.engine.places import parse_place

        place = parse_place(name)
        root = read_files(self.store, place)
        self.store.images.tag(name_of(place), root)
        image = self.store.images.get(name_of(place))
        if image is None:
            raise NotFound(f"{name} holds no image")
        return image

    def _loaded(self, path: str, platform: Platform) -> StoredImage:
        """Give the image of an archive, which is loaded unless this very file was before."""
        from builder.engine.transfer import load

        path = os.path.abspath(path)
        status = os.stat(path)
        identity = (path, status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns)
        key = f"archive/1 {identity!r}".encode("utf-8", "surrogateescape")
        known = self.store.records.memo(key)
        if known is not None:
            image = self.store.images.resolve(known.decode())
            if image is not None:
                return image
        loaded = load(self.store, path, platform)
        digest: Digest = loaded[0].descriptor.digest
        image = self.store.images.resolve(digest)
        if image is None:
            raise NotFound(f"the archive {path} holds no image")
        self.store.records.remember(key, digest.encode())
        return image


def _is_archive(name: str) -> bool:
    """Tell whether an image is given as a file: by a path, or a name that ends like an archive."""
    looks_so = name.startswith(("/", "./", "../")) or name.endswith((".tar", ".tar.gz", ".tgz"))
    return looks_so and os.path.exists(name)
