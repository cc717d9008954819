"""The tags of a repository, page by page.

Spec: OCI distribution-spec, "Listing Tags".
"""

from typing import TYPE_CHECKING

from builder.errors import RegistryError
from builder.oci import json
from builder.registry.repository import Repository

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse as Response

PAGE = 1000
MAX_TAGS = 100_000
MAX_PAGES = 10_000
MAX_PAGE_BYTES = 8 << 20


def tags(repository: Repository, *, limit: int = MAX_TAGS) -> list[str]:
    """List up to `limit` tags in the registry's order."""
    found: list[str] = []
    seen: set[str] = set()
    place: str | None = repository.place(f"tags/list?n={min(limit, PAGE)}")
    while place is not None and len(found) < limit:
        if place in seen or len(seen) == MAX_PAGES:
            raise RegistryError(
                f"{repository.endpoint.host} never comes to the end of the list of tags",
                fix="list fewer of them with --limit",
            )
        seen.add(place)
        response, content = repository.session.fetch(
            place, limit=MAX_PAGE_BYTES, scope=repository.scope()
        )
        found += json.strings(json.load_object(content, what="the list of tags"), "tags") or ()
        place = next_page(response)
    return found[:limit]


def next_page(response: "Response") -> str | None:
    """Read the path of the next page from a Link header; it stays on the registry's own host.

    Raises RegistryError.

    Spec: RFC 8288.
    """
    link = response.headers.get("Link", "")
    target, _, parameters = link.partition(">")
    if not target.startswith("<") or 'rel="next"' not in parameters.replace(
        "rel=next", 'rel="next"'
    ):
        return None
    place = target[1:]
    if "://" in place:
        place = "/" + place.partition("://")[2].partition("/")[2]
    if not place.startswith("/v2/") or not place.isprintable():
        raise RegistryError(f"the next page of a list is at {target[:200]!r}")
    return place
