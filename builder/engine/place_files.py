"""Images in files, read into the content store: layouts, archives, directories."""

import os
from contextlib import ExitStack

from builder.engine.docker_archive import docker_images
from builder.engine.folders import read_folder, read_layout
from builder.engine.members import Member
from builder.engine.places import Place
from builder.engine.transfer import opened_members
from builder.errors import NotFound, UsageError
from builder.oci.descriptor import Descriptor
from builder.oci.reference import DEFAULT_TAG, Reference, parse_reference
from builder.store.store import Store


def read_files(store: Store, place: Place) -> Descriptor:
    """Read an image, all of its platforms; give its root. It has no name in the store yet."""
    with ExitStack() as stack:
        members = opened_members(store, place.location, stack)
        if place.transport == "docker-archive":
            images = docker_images(members)
            wanted = parse_reference(place.name) if place.name else None
            for image in images:
                if wanted is None or wanted in image.names:
                    _keep(store, image.blobs)
                    return image.descriptor
            raise NotFound(f"{place.location} holds no image {place.name}")
        if place.transport == "dir":
            root, blobs = read_folder(members)
        else:
            root, blobs = read_layout(members, place.name, place.location)
        _keep(store, blobs)
        return root


def name_of(place: Place) -> Reference:
    """Name an image for the store: as in its place if that is a whole name, else by the file."""
    if "/" in place.name or ":" in place.name:
        return parse_reference(place.name)
    file = os.path.basename(os.path.abspath(place.location)).lower()
    for suffix in (".tar", ".tar.gz", ".tgz"):
        file = file.removesuffix(suffix)
    try:
        return parse_reference(f"localhost/{file}:{place.name or DEFAULT_TAG}")
    except UsageError:
        return parse_reference(f"localhost/image:{place.name or DEFAULT_TAG}")


def _keep(store: Store, blobs: tuple[Member, ...]) -> None:
    for member in blobs:
        if member.content is not None:
            store.content.put(member.content)
        elif member.ingest is not None and not store.content.has(member.digest):
            member.ingest.commit(member.digest, member.size_bytes, is_verified=True)
