"""Taking names and images away, as far as containers allow it."""

from builder.engine.catalog import CONTAINER_OWNER, given_name, resolved
from builder.errors import Conflict, UsageError
from builder.oci.digest import Digest
from builder.oci.reference import Reference, parse_reference
from builder.store.store import Store
from builder.values import NamedTuple

_ID_DIGITS = 64


class Removed(NamedTuple):
    """The names that are gone, and the image's ID if it is gone too."""

    untagged: tuple[Reference, ...]
    deleted: Digest | None


def tag_image(store: Store, source: str, target: str) -> Reference:
    """Give an image one more name; one that another image had moves.

    Raises UsageError.
    """
    image = resolved(store, source)
    reference = parse_reference(target)
    if reference.digest is not None:
        raise UsageError("a tag cannot have a digest", fix="write NAME:TAG")
    if _is_id(target.partition(":")[0]):
        raise UsageError(f"{target!r} would be taken for an image's ID", fix="choose another name")
    store.images.tag(reference, image.descriptor)
    return reference


def remove_image(store: Store, name: str, *, is_forced: bool = False) -> Removed:
    """Take one name away; with the last name, or by ID, the image too.

    Conflict if containers stand on the image, or an ID has several names, unless forced.
    """
    image = resolved(store, name)
    reference = given_name(image, name)
    if reference is not None and len(image.names) > 1:
        store.images.untag(reference)
        return Removed((reference,), None)
    users = [owner for owner in store.images.users(image) if owner.startswith(CONTAINER_OWNER)]
    if users and not is_forced:
        raise Conflict(
            f"the image {name} is being used by container "
            f"{users[0].removeprefix(CONTAINER_OWNER)[:12]}",
            fix="remove the container first, or use --force",
        )
    if reference is None and len(image.names) > 1 and not is_forced:
        raise Conflict(
            f"the image {name} has {len(image.names)} names",
            fix="remove it by its names, or use --force",
        )
    return Removed(store.images.remove(image.descriptor.digest), image.image_id)


def _is_id(name: str) -> bool:
    return len(name) == _ID_DIGITS and set(name) <= set("0123456789abcdef")
