"""What refers to a manifest: signatures, SBOMs, anything with a subject.

Registries without the API keep an index under a tag made of the subject's digest; clients maintain
it.

Spec: OCI distribution-spec, "Listing Referrers", "Referrers Tag Schema".
"""

from collections.abc import Callable

from builder.errors import InvalidImage, NotInRegistry
from builder.oci import media
from builder.oci.descriptor import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    describe,
    parse_manifest_or_index,
    to_json,
)
from builder.oci.digest import Digest
from builder.registry.repository import Repository
from builder.registry.tags import next_page

MAX_PAGES = 100
PutManifest = Callable[[bytes, Descriptor, str], None]


def referrers(
    repository: Repository, subject: Digest, artifact_type: str = ""
) -> tuple[Descriptor, ...]:
    """List what refers to a manifest, of one type if given."""
    place: str | None = repository.place(f"referrers/{subject}")
    found: list[Descriptor] = []
    for _ in range(MAX_PAGES):
        if place is None:
            break
        response, content = repository.session.fetch(
            place, limit=MAX_MANIFEST_BYTES, accepted=(200, 404),
            headers={"Accept": media.INDEX}, scope=repository.scope(),
        )  # fmt: skip
        if response.status == 404:  # noqa: PLR2004 - no such API
            found = list(_tagged(repository, subject))
            break
        found += _index(content).manifests
        place = next_page(response)
    return tuple(one for one in found if artifact_type in {"", one.artifact_type})


def add_referrer(
    repository: Repository, document: Manifest | Index, descriptor: Descriptor, put: PutManifest
) -> None:
    """Note a document with a subject in the index of the fall-back tag."""
    if document.subject is None:
        return
    kind = document.artifact_type
    if not kind and isinstance(document, Manifest):
        kind = document.config.media_type
    entry = descriptor._replace(artifact_type=kind, annotations=document.annotations)
    known = _tagged(repository, document.subject.digest)
    if any(one.digest == entry.digest for one in known):
        return
    content = to_json(Index(media.INDEX, (*known, entry)))
    put(content, describe(content, media.INDEX), fallback_tag(document.subject.digest))


def fallback_tag(subject: Digest) -> str:
    """Name the tag of the index of what refers to a manifest."""
    return subject.replace(":", "-", 1)


def _tagged(repository: Repository, subject: Digest) -> tuple[Descriptor, ...]:
    try:
        document = repository.manifest(fallback_tag(subject)).document
    except NotInRegistry:
        return ()
    return document.manifests if isinstance(document, Index) else ()


def _index(content: bytes) -> Index:
    document = parse_manifest_or_index(content, media.INDEX)
    if not isinstance(document, Index):
        raise InvalidImage("the list of referrers is not an index")
    return document
