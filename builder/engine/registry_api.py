"""The engine's use cases about registries; the engine is one of these.

The modules that do the work load when they are first needed: HTTP costs more than a whole build.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from builder.concurrency import CancelToken
from builder.errors import NotFound, RegistryError
from builder.events import Sink
from builder.oci.platform import Platform
from builder.store.images import StoredImage
from builder.store.store import Store
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.engine.copies import CopyRequest
    from builder.engine.manifest_lists import Annotation
    from builder.engine.pulls import Pulled
    from builder.oci.digest import Digest
    from builder.registry.client import Registries
    from builder.registry.push import Pushed


class Access(NamedTuple):
    """How a command may reach registries."""

    is_verified: bool = True
    """Whether TLS is checked, and plain HTTP refused but on loopback."""
    auth_file: str | None = None
    """Where credentials are, in place of the usual files."""
    login: tuple[str, str] | None = None
    """User and password, used in place of stored ones."""


class RegistryUseCases:
    """What can be done with images elsewhere; `platform` is this machine's."""

    store: Store
    platform: Platform
    token: CancelToken
    sink: Sink

    def registries(self, access: Access = Access()) -> "Registries":  # noqa: B008 - a value
        """Give a client; the caller closes it."""
        from builder.registry.client import Registries
        from builder.registry.credentials import Credentials, CredentialStore

        given = None if access.login is None else Credentials(*access.login)
        return Registries(
            os.environ,
            self.token,
            is_verified=access.is_verified,
            credentials=CredentialStore(os.environ, access.auth_file),
            given=given,
        )

    def pull(
        self,
        name: str,
        *,
        platform: Platform | None = None,
        is_every_platform: bool = False,
        access: Access = Access(),  # noqa: B008 - a value
    ) -> "Pulled":
        """Pull one image and name it; of several platforms the given one, or this machine's."""
        from builder.engine.pulls import Transfers
        from builder.oci.reference import parse_reference
        from builder.oci.transport import REGISTRY, is_file

        if is_file(name):
            return self._read(name)
        name = name.removeprefix(REGISTRY)
        with self.registries(access) as registries:
            puller = Transfers(self.store, registries, self.token, self.sink)
            reference = parse_reference(name)
            if is_every_platform:
                return puller.pull_all(reference, self.platform)
            return puller.pull(reference, platform or self.platform, is_strict=platform is not None)

    def _read(self, name: str) -> "Pulled":
        """Take an image from files, as pulling does from a registry."""
        from builder.engine.place_files import name_of, read_files
        from builder.engine.places import parse_place
        from builder.engine.pulls import Pulled
        from builder.engine.steps import reported

        place = parse_place(name)
        reference = name_of(place)
        before = self.store.images.get(reference)
        with reported(self.sink, f"reading {place.location}"):
            root = read_files(self.store, place)
            self.store.images.tag(reference, root)
        _, manifest = self.store.images.any_manifest(root)
        is_new = before is None or before.descriptor.digest != root.digest
        return Pulled(reference, root.digest, manifest.config.digest, is_new)

    def push(
        self,
        name: str,
        *,
        to: str | None = None,
        platform: Platform | None = None,
        access: Access = Access(),  # noqa: B008 - a value
    ) -> "Pushed":
        """Push an image of the store under its name, or `to` another; one platform if given."""
        from builder.engine.pulls import Transfers
        from builder.oci.transport import REGISTRY

        with self.registries(access) as registries:
            return Transfers(self.store, registries, self.token, self.sink).push(
                name.removeprefix(REGISTRY), platform, (to or name).removeprefix(REGISTRY)
            )

    def tags(
        self,
        name: str,
        *,
        limit: int,
        access: Access = Access(),  # noqa: B008 - a value
    ) -> list[str]:
        """List the tags of a repository."""
        from builder.oci.reference import parse_reference
        from builder.registry.tags import tags

        with self.registries(access) as registries:
            _, found = registries.first(parse_reference(name), lambda one: tags(one, limit=limit))
            return found

    def login(self, registry: str, access: Access) -> str:
        """Check the user and password given with a registry and keep them; where they are kept."""
        from builder.engine.logins import login
        from builder.registry.credentials import Credentials

        with self.registries(access) as registries:
            return login(registries, registry, Credentials(*(access.login or ())))

    def logout(self, registry: str, access: Access) -> bool:
        """Forget the credentials of a registry; whether there were any."""
        from builder.engine.logins import credential_name

        with self.registries(access) as registries:
            return registries.credentials.erase(credential_name(registries, registry))

    def copy_image(
        self, request: "CopyRequest", access: Access, targets: Access | None = None
    ) -> "Digest":
        """Copy an image or artefact from one place to another; `targets` reaches the second."""
        from builder.engine.copies import Copier

        with (
            self.registries(access) as registries,
            self.registries(access if targets is None else targets) as destinations,
        ):
            copier = Copier(
                self.store, registries, self.token, self.sink, self.platform, targets=destinations
            )
            return copier.copy(request)

    def manifest_bytes(self, name: str, access: Access) -> bytes:
        """Give the manifest, index or list of a name: our own list, the store's, a registry's."""
        from builder.engine.manifest_lists import ManifestLists

        with self.registries(access) as registries:
            return ManifestLists(self.store, registries, self.token, self.sink).inspect(name)

    def create_manifest(
        self, name: str, manifests: Sequence[str], *, is_amended: bool, access: Access
    ) -> None:
        """Begin a list of manifests, or add to one."""
        from builder.engine.manifest_lists import ManifestLists

        with self.registries(access) as registries:
            lists = ManifestLists(self.store, registries, self.token, self.sink)
            lists.create(name, manifests, is_amended=is_amended)

    def annotate_manifest(self, name: str, manifest: str, annotation: "Annotation") -> None:
        """Say more of one manifest of a list."""
        from builder.engine.manifest_lists import ManifestLists

        with self.registries() as registries:
            lists = ManifestLists(self.store, registries, self.token, self.sink)
            lists.annotate(name, manifest, annotation)

    def push_manifest(
        self, name: str, target: str | None, *, is_removed: bool, access: Access
    ) -> "Digest":
        """Push a list and all that it names."""
        from builder.engine.manifest_lists import ManifestLists

        with self.registries(access) as registries:
            lists = ManifestLists(self.store, registries, self.token, self.sink)
            return lists.push(name, target or name, is_removed=is_removed)

    def remove_manifest(self, name: str) -> None:
        """Forget a list."""
        from builder.engine.manifest_lists import ManifestLists

        with self.registries() as registries:
            ManifestLists(self.store, registries, self.token, self.sink).remove(name)

    def pull_for_run(self, image: str, platform: Platform) -> StoredImage:
        """Pull an image that is to be run; any failure means that there is no such image."""
        try:
            pulled = self.pull(image, platform=platform)
        except (RegistryError, NotFound) as error:
            raise NotFound(
                f"Unable to find image '{image}' locally: {error.what}", fix=error.fix
            ) from None
        found = self.store.images.get(pulled.reference)
        if found is None:
            raise NotFound(f"Unable to find image '{image}' locally")
        return found
