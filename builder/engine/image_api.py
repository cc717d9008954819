"""The engine's use cases about images and disk space; the engine is one of these.

The modules that do the work load when they are first needed: a build needs none of them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from builder.oci.config import RunConfig
from builder.oci.platform import Platform
from builder.oci.reference import Reference, parse_reference
from builder.store.store import Store

if TYPE_CHECKING:
    from builder.containers.service import Containers
    from builder.engine.disk import DiskSpace
    from builder.engine.reclaim import CachePrune, ImagePrune
    from builder.engine.removal import Removed
    from builder.engine.tidy import Tidied
    from builder.engine.transfer import ArchiveFormat, Loaded
    from builder.store.gc import Pruned
    from builder.wire import ImageFacts


class ImageUseCases:
    """What can be done with the images of a store; `platform` is this machine's."""

    store: Store
    platform: Platform

    @property
    def containers(self) -> "Containers":
        """The use cases of containers, which the engine has too."""
        raise NotImplementedError

    def load(
        self,
        source: str | int,
        *,
        tags: Sequence[str] = (),
        platform: Platform | None = None,
    ) -> "list[Loaded]":
        """Load the images of an archive: a path, a layout directory, or a descriptor."""
        from builder.engine.transfer import load

        references = [parse_reference(tag) for tag in tags]
        return load(self.store, source, platform or self.platform, tags=references)

    def save(
        self,
        names: Sequence[str],
        *,
        dest: str,
        stdout: int = 1,
        format: "ArchiveFormat" = "docker-archive",  # noqa: A002 - the option's name
        platform: Platform | None = None,
    ) -> None:
        """Write images to an archive; `-` is the descriptor `stdout`."""
        from builder.engine.transfer import save

        save(self.store, names, platform, dest=dest, stdout=stdout, format=format)

    def import_image(
        self,
        source: int,
        *,
        reference: str | None = None,
        message: str = "",
        changes: Sequence[str] = (),
        platform: Platform | None = None,
    ) -> "Loaded":
        """Make an image of one layer from the archive of a root file system."""
        import time

        from builder.engine.changes import changed_config
        from builder.engine.transfer import Import, import_
        from builder.wire import rfc3339

        chosen = platform or self.platform
        request = Import(
            chosen,
            changed_config(RunConfig(), changes, chosen, cache_dir=self.store.path("parsed")),
            rfc3339(int(time.time())),
            message,
            None if reference is None else parse_reference(reference),
        )
        return import_(self.store, source, request)

    def images(self, filters: Mapping[str, Sequence[str]]) -> "list[ImageFacts]":
        """List images, newest first."""
        from builder.engine.catalog import image_filter, list_images

        return list_images(self.store, self.platform, image_filter(filters))

    def inspect_image(self, name: str) -> dict[str, object]:
        """Describe an image as Docker's API does; NotFound if there is none."""
        from builder.engine.catalog import inspect_image

        return inspect_image(self.store, name, self.platform)

    def history(self, name: str) -> list[dict[str, object]]:
        """List how an image came to be, as Docker's API does."""
        from builder.engine.catalog import image_history

        return image_history(self.store, name, self.platform)

    def tag(self, source: str, target: str) -> Reference:
        """Give an image one more name."""
        from builder.engine.removal import tag_image

        return tag_image(self.store, source, target)

    def remove_image(self, name: str, *, is_forced: bool = False) -> "Removed":
        """Take a name away, and the image with its last name."""
        from builder.engine.removal import remove_image

        return remove_image(self.store, name, is_forced=is_forced)

    def sweep(self) -> "Pruned":
        """Free what no image, container or cached step needs any more."""
        from builder.store.gc import sweep

        return sweep(self.store)

    def prune_images(self, wanted: "ImagePrune") -> "Pruned":
        """Remove images that no container uses."""
        from builder.engine.reclaim import prune_images

        return prune_images(self.store, self.platform, wanted)

    def prune_cache(self, wanted: "CachePrune", *, is_dry_run: bool = False) -> "Pruned":
        """Remove cached steps and cache mounts."""
        from builder.engine.reclaim import prune_cache

        return prune_cache(self.store, wanted, is_dry_run=is_dry_run)

    def tidy(
        self,
        filters: Mapping[str, Sequence[str]],
        *,
        cache: "CachePrune",
        with_named_images: bool = False,
        with_volumes: bool = False,
        is_dry_run: bool = False,
    ) -> "Tidied":
        """Remove everything that nobody uses, of the cache as much as is asked."""
        from builder.engine.tidy import tidy

        return tidy(
            self.containers,
            self.store,
            self.platform,
            filters,
            cache=cache,
            with_named_images=with_named_images,
            with_volumes=with_volumes,
            is_dry_run=is_dry_run,
        )

    def disk_space(self) -> "DiskSpace":
        """Measure what images, containers, volumes and the cache take on disk."""
        from builder.engine.disk import disk_space

        return disk_space(self.store, self.platform)
