"""Put images into a store, pull and push them with the parts under test."""

from builder.concurrency import CancelToken
from builder.oci import media
from builder.oci.descriptor import Descriptor
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.registry.client import Registries
from builder.registry.pull import Located, Source
from builder.registry.push import Pushed, Pusher
from builder.store.store import Store
from tests.registry.servers import Image

AMD64 = Platform("linux", "amd64")


def put(store: Store, image: Image) -> Descriptor:
    for blob in image.blobs.values():
        store.content.put(blob)
    return Descriptor(media.MANIFEST, store.content.put(image.manifest), len(image.manifest))


def push(store: Store, client: Registries, image: Image, name: str) -> Pushed:
    reference = parse_reference(name)
    root = put(store, image)
    pusher = Pusher(store.content, client.destination(reference), CancelToken())
    return pusher.push(root, [reference.tag])


def pull(store: Store, client: Registries, name: str, platform: Platform = AMD64) -> Located:
    source = Source(store, client, parse_reference(name), CancelToken())
    located = source.locate(platform)
    source.pull(located)
    return located


def kept(store: Store) -> set[str]:
    """List the digests of the blobs in a store."""
    return {digest for digest, _size in store.content.walk()}
