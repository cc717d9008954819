"""The lock of a Dockerfile: what its images, URLs and git refs stood for when somebody last looked.

It stands beside the Dockerfile and is read in diffs: JSON, sorted, a line for each name. Images are
pinned by the digest that their tag stood for (an index, where there are several platforms). What
pins itself, by a digest, a checksum or a whole commit, is not in it.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from builder.dockerfile.request import GitNeed, HttpNeed, ImageNeed
from builder.errors import Conflict, InvalidImage, UsageError
from builder.oci.digest import Digest, parse_digest
from builder.oci.transport import is_file
from builder.source import Span
from builder.values import NamedTuple

SUFFIX = ".lock"
VERSION = 1
COMMIT_LENGTHS = (40, 64)
_HEX = frozenset("0123456789abcdef")
_REMEDY = "write the lock with `builder lock`, and look at what changed"
_Text = TypeVar("_Text", bound=str)


class Lock(NamedTuple):
    """Digests of images by full name, of downloads by URL; commits by `remote#ref`."""

    images: Mapping[str, Digest] = {}
    urls: Mapping[str, Digest] = {}
    gits: Mapping[str, str] = {}

    def entries(self) -> Iterator[tuple[str, str]]:
        """List all names with their pins, sorted within their kinds."""
        for kind in (self.images, self.urls, self.gits):
            yield from sorted(kind.items())


class Moved(NamedTuple):
    """A name that stands for something else now; None where it was not, or is no longer, there."""

    name: str
    old: str | None
    new: str | None


class Pinning(NamedTuple):
    """How a build uses a lock."""

    lock: Lock | None = None
    name: str = ""
    """The lock's file name, for errors."""
    is_required: bool = False
    """`--locked`: what the lock does not pin is refused."""

    def image(self, need: ImageNeed) -> Digest | None:
        """Give the locked digest of an image; none of one in the client's own files."""
        if is_file(need.name) or "@" in need.name:
            return None
        return self._found(None if self.lock is None else self.lock.images, need.name, need.span)

    def url(self, need: HttpNeed) -> Digest | None:
        """Give the locked checksum of a download."""
        if need.checksum is not None:
            return None
        return self._found(None if self.lock is None else self.lock.urls, need.url, need.span)

    def git(self, need: GitNeed) -> str | None:
        """Give the locked commit of a ref."""
        if is_commit(need.ref):
            return None
        name = git_name(need.remote, need.ref)
        return self._found(None if self.lock is None else self.lock.gits, name, need.span)

    def _found(
        self, pins: Mapping[str, _Text] | None, name: str, span: Span | None
    ) -> _Text | None:
        found = None if pins is None else pins.get(name)
        if found is not None or not self.is_required:
            return found
        if pins is None:
            raise Conflict("--locked needs a lock, and there is none", fix=_REMEDY)
        raise Conflict(f"{name} is not in {self.name}", fix=_REMEDY, span=span)


def git_name(remote: str, ref: str) -> str:
    """Name a ref as the lock does."""
    return f"{remote}#{ref}" if ref else remote


def is_commit(ref: str) -> bool:
    """Whether a text is a whole commit, and so nothing that git could take for an option."""
    return len(ref) in COMMIT_LENGTHS and _HEX.issuperset(ref)


def moved(old: Lock, new: Lock) -> list[Moved]:
    """List what differs, in the order of the file."""
    before, after = dict(old.entries()), dict(new.entries())
    names = dict.fromkeys((*after, *before))
    return [
        Moved(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def encoded(lock: Lock) -> bytes:
    """Write a lock: the same pins give the same bytes."""
    import json

    kinds = {"images": lock.images, "urls": lock.urls, "gits": lock.gits}
    document = {
        "lock": VERSION,
        **{kind: dict(sorted(pins.items())) for kind, pins in kinds.items()},
    }
    return json.dumps(document, indent=2).encode() + b"\n"


def _check_version(value: Mapping[str, object], name: str) -> None:
    if value.get("lock") != VERSION:
        raise InvalidImage(f"{name} is no lock of version {VERSION}")


def parse_lock(content: bytes, name: str) -> Lock:
    """Read a lock; UsageError if it is damaged or not one of ours: it is never ignored."""
    from builder.oci import json

    try:
        value = json.load_object(content, what=name)
        _check_version(value, name)
        images, urls, gits = (json.string_map(value, kind) for kind in ("images", "urls", "gits"))
        pins = [{key: parse_digest(text) for key, text in kind.items()} for kind in (images, urls)]
    except InvalidImage as error:
        raise UsageError(
            f"the lock cannot be used: {error.what}",
            fix=f"restore {name}, or remove it and write it anew with `builder lock`",
        ) from None
    for key, commit in gits.items():
        if not is_commit(commit):
            raise UsageError(f"{name} pins {key} to {commit!r}, which is no whole commit")
    return Lock(pins[0], pins[1], gits)
