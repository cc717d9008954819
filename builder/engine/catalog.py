"""What is known of the images in the store: lists with filters, inspection, history."""

from collections.abc import Iterable, Mapping, Sequence

from builder import wire
from builder.errors import NotFound, UsageError
from builder.layers.glob import go_match
from builder.oci.config import History, ImageConfig, chain_id
from builder.oci.descriptor import Manifest
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.oci.reference import Reference, parse_reference
from builder.store.images import StoredImage
from builder.store.store import Store
from builder.store.usage import ImageSize, image_sizes
from builder.text import nearest
from builder.values import NamedTuple
from builder.wire import HistoryLine, ImageFacts

CONTAINER_OWNER = "container:"
LIST_FILTERS = ("before", "dangling", "label", "reference", "since")


class ImageFilter(NamedTuple):
    """Which images to list. References are patterns; labels are `key` or `key=value`."""

    references: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    is_dangling: bool | None = None
    before: str | None = None
    since: str | None = None


def image_filter(given: Mapping[str, Sequence[str]]) -> ImageFilter:
    """Read `--filter` options; UsageError for one that is unknown or makes no sense."""
    for key in given:
        if key not in LIST_FILTERS:
            guess = nearest(key, LIST_FILTERS)
            raise UsageError(
                f"{key!r} is not a filter here",
                fix=f"did you mean {guess}?" if guess else f"known: {', '.join(LIST_FILTERS)}",
            )
    return ImageFilter(
        tuple(given.get("reference", ())),
        tuple(given.get("label", ())),
        _dangling(given.get("dangling", ())),
        *(given.get(key, (None,))[-1] for key in ("before", "since")),
    )


def resolved(store: Store, name: str) -> StoredImage:
    """Find an image by name or ID; NotFound says which."""
    image = store.images.resolve(name)
    if image is None:
        raise NotFound(f"no such image: {name}", fix="list what is there with `images`")
    return image


def given_name(image: StoredImage, text: str) -> Reference | None:
    """Tell which name was given; None if it was an ID."""
    try:
        reference = parse_reference(text)
    except UsageError:
        return None
    return reference if reference in image.names else None


def shown_manifest(store: Store, image: StoredImage, platform: Platform) -> Manifest:
    """Choose the manifest that stands for an image: the platform's, else one that is here."""
    try:
        return store.images.manifest(image.descriptor, platform)[1]
    except NotFound:
        return store.images.any_manifest(image.descriptor)[1]


def list_images(store: Store, platform: Platform, wanted: ImageFilter) -> list[ImageFacts]:
    """List the images that pass the filters, newest first, with the names that pass."""
    sizes = image_sizes(store)
    facts = [image_facts(store, image, platform, sizes) for image in store.images.list()]
    newest = _position(store, facts, wanted.before)
    oldest = _position(store, facts, wanted.since)
    ranged = facts[0 if newest is None else newest + 1 : oldest]
    return [shown for image in ranged for shown in _passing(image, wanted)]


def inspect_image(store: Store, name: str, platform: Platform) -> dict[str, object]:
    """Describe one image as Docker does."""
    image = resolved(store, name)
    return wire.image_inspect(image_facts(store, image, platform, image_sizes(store)))


def image_history(store: Store, name: str, platform: Platform) -> list[dict[str, object]]:
    """List how an image came to be, newest first, with the bytes of each layer."""
    image = resolved(store, name)
    manifest = shown_manifest(store, image, platform)
    config = store.images.config(manifest)
    lines = history_lines(config, _layer_sizes(store, manifest, config))
    return wire.history_items(image.image_id, wire.repo_tags(image.names), lines)


def history_lines(config: ImageConfig, sizes: Sequence[int]) -> list[HistoryLine]:
    """Join history and layers; layers that the history does not tell of come first, unnamed."""
    entries = list(config.history)
    untold = len(sizes) - sum(not entry.is_empty_layer for entry in entries)
    entries = [History()] * untold + entries
    remaining = iter(sizes)
    return [
        HistoryLine(entry, 0 if entry.is_empty_layer else next(remaining, 0)) for entry in entries
    ]


def image_facts(
    store: Store, image: StoredImage, platform: Platform, sizes: Mapping[Digest, ImageSize]
) -> ImageFacts:
    """Collect what is known of an image."""
    manifest = shown_manifest(store, image, platform)
    size = sizes.get(image.descriptor.digest)
    users = store.images.users(image)
    return ImageFacts(
        image.image_id,
        image.descriptor,
        image.names,
        store.images.config(manifest),
        image.created_s,
        0 if size is None else size.size_bytes,
        0 if size is None else size.shared_bytes,
        sum(user.startswith(CONTAINER_OWNER) for user in users),
    )


def has_labels(labels: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether there is every wanted label: `key`, or `key=value`."""
    pairs = (label.partition("=") for label in wanted)
    return all(key in labels and (not eq or labels[key] == value) for key, eq, value in pairs)


def _layer_sizes(store: Store, manifest: Manifest, config: ImageConfig) -> list[int]:
    """Count each layer's bytes on disk where it is unpacked, else those of its blob."""
    sizes = []
    for position, layer in enumerate(manifest.layers):
        chain = chain_id(config.diff_ids[: position + 1])
        snapshot = None if chain is None else store.layers.by_chain(chain)
        sizes.append(layer.size_bytes if snapshot is None else store.snapshots.usage(snapshot))
    return sizes


def _passing(image: ImageFacts, wanted: ImageFilter) -> Iterable[ImageFacts]:
    labels = dict(image.config.config.labels)
    if wanted.is_dangling not in {None, not image.names}:
        return
    if not has_labels(labels, wanted.labels):
        return
    if not wanted.references:
        yield image
        return
    names = tuple(name for name in image.names if _matches(name, wanted.references))
    if names:
        yield image._replace(names=names)


def _matches(name: Reference, patterns: Sequence[str]) -> bool:
    """Match the familiar name, with or without its tag."""
    bare = name._replace(tag="", digest=None).familiar
    return any(go_match(pattern, text) for pattern in patterns for text in (name.familiar, bare))


def _position(store: Store, facts: Sequence[ImageFacts], name: str | None) -> int | None:
    if name is None:
        return None
    wanted = resolved(store, name).descriptor.digest
    digests = [image.descriptor.digest for image in facts]
    return digests.index(wanted) if wanted in digests else None


def _dangling(values: Sequence[str]) -> bool | None:
    if not values:
        return None
    if values[-1] not in {"true", "false", "1", "0"}:
        raise UsageError(f"dangling={values[-1]} is neither true nor false")
    return values[-1] in {"true", "1"}
