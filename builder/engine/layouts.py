"""Base images from the client's files: `--build-context NAME=oci-layout://PATH:TAG`.

The other places that hold images are known too: `oci:`, `oci-archive:`, `docker-archive:`, `dir:`.
"""

import os

from builder.dockerfile.request import ImageNeed, ImagePin
from builder.errors import NotFound
from builder.oci.reference import Reference
from builder.store.store import Store

SCHEME = "oci-layout://"


def pin(store: Store, need: ImageNeed) -> ImagePin:
    """Load the layout into the store, without a name, and pin the image that is meant.

    Raises NotFound.
    """
    if not need.name.startswith(SCHEME):
        return _placed(store, need)
    from builder.engine.transfer import load

    path, reference = _split(need.name.removeprefix(SCHEME))
    loaded = load(store, path, need.platform)
    wanted = [
        image for image in loaded if _is_meant(image.names, image.descriptor.digest, reference)
    ]
    if not wanted:
        raise NotFound(f"{path} holds no image {reference or 'at all'}")
    image = store.images.resolve(wanted[0].descriptor.digest)
    if image is None:
        raise NotFound(f"{path} could not be loaded")
    descriptor, manifest = store.images.manifest(image.descriptor, need.platform)
    return ImagePin(descriptor.digest, store.images.config(manifest), need.name)


def _placed(store: Store, need: ImageNeed) -> ImagePin:
    from builder.engine.place_files import read_files
    from builder.engine.places import parse_place

    root = read_files(store, parse_place(need.name))
    store.images.add(root)
    descriptor, manifest = store.images.manifest(root, need.platform)
    return ImagePin(descriptor.digest, store.images.config(manifest), need.name)


def _split(location: str) -> tuple[str, str]:
    """Separate `PATH:TAG` or `PATH@DIGEST`; a path that exists as written has neither."""
    if os.path.isdir(location):
        return location, ""
    for separator in ("@", ":"):
        path, found, reference = location.rpartition(separator)
        if found and os.path.isdir(path):
            return path, reference
        if separator == "@" and found:
            path = path.rpartition(":")[0]
            if os.path.isdir(path):
                return path, reference
    return location, ""


def _is_meant(names: tuple[Reference, ...], digest: str, reference: str) -> bool:
    if not reference or digest == reference:
        return True
    return any(reference in (name.tag, str(name), name.familiar) for name in names)
