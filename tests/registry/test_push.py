import json
import os
from collections.abc import Callable

import pytest

from builder.concurrency import CancelToken
from builder.errors import NotFound, RegistryError
from builder.oci import media
from builder.oci.descriptor import Descriptor, Index, describe, to_json
from builder.oci.digest import parse_digest
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.registry.client import Registries
from builder.registry.push import Pusher
from builder.registry.referrers import referrers
from builder.registry.tags import tags
from builder.store.store import Store
from tests.engine.archives import layer
from tests.registry.images import kept, pull, push, put
from tests.registry.servers import (
    Answer,
    Image,
    Registry,
    Seen,
    Spoiler,
    image_of,
    serving,
    spoiling,
)

SMALL = image_of(layer(file=os.urandom(1000)))
LARGE = image_of(layer(file=os.urandom(6 << 20)))


def _without_location(upstream: Spoiler, seen: Seen) -> Answer:
    answer = upstream.forward(seen)
    return answer._replace(headers={k: v for k, v in answer.headers.items() if k != "Location"})


def _lost(upstream: Spoiler, seen: Seen) -> Answer:
    upstream.forward(seen)
    return Answer(502)


def _short(upstream: Spoiler, seen: Seen) -> Answer:
    is_part = seen.method == "PATCH"
    return upstream.forward(seen, seen.body[: len(seen.body) // 2] if is_part else None)


FAULTS: dict[str, Callable[[Spoiler, Seen], Answer]] = {
    "unavailable": lambda _upstream, _seen: Answer(503),
    "limited": lambda _upstream, _seen: Answer(429, {"Retry-After": "0"}),
    "broken": lambda _upstream, _seen: Answer(202, {"Content-Length": "9"}, is_broken=True),
    "lost": _lost,
    "without-location": _without_location,
    "short": _short,
}


def test_what_was_pushed_is_pulled(
    store: Store, client: Registries, plain_registry: Registry
) -> None:
    pushed = push(store, client, LARGE, f"{plain_registry.host}/pushed/x:1")

    assert pushed.descriptor.digest == LARGE.digest
    assert pushed.sent == 2
    with Store.open(f"{store.root}-2") as other:
        pull(other, client, f"{plain_registry.host}/pushed/x@{LARGE.digest}")
        assert kept(other) == {LARGE.digest, *LARGE.blobs}


def test_what_is_there_is_not_sent_again(
    store: Store, client: Registries, plain_registry: Registry
) -> None:
    push(store, client, SMALL, f"{plain_registry.host}/again/x:1")

    again = push(store, client, SMALL, f"{plain_registry.host}/again/x:2")

    assert again.sent == 0
    repository = client.destination(parse_reference(f"{plain_registry.host}/again/x"))
    assert sorted(tags(repository)) == ["1", "2"]
    assert len(tags(repository, limit=1)) == 1


def _paged(seen: Seen) -> Answer | None:
    """List the tags a, b and c one by one, with an empty page among them."""
    if seen.path == "/v2/":
        return Answer(200)
    pages = {"": (["a"], "a"), "a": ([], "gap"), "gap": (["b"], "b"), "b": (["c"], "")}
    found, following = pages[seen.path.partition("last=")[2]]
    link = {"Link": f'</v2/x/y/tags/list?n=1&last={following}>; rel="next"'} if following else {}
    return Answer(200, link, json.dumps({"name": "x/y", "tags": found}).encode())


def test_tags_come_page_by_page(client: Registries) -> None:
    with serving(_paged) as server:
        repository = client.destination(parse_reference(f"{server.host}/x/y"))

        assert tags(repository) == ["a", "b", "c"]
        assert tags(repository, limit=2) == ["a", "b"]


def test_a_list_of_tags_that_goes_round_ends(client: Registries) -> None:
    link = {"Link": '</v2/x/y/tags/list?n=1&last=a>; rel="next"'}
    with serving(lambda _seen: Answer(200, link, b'{"tags": ["a"]}')) as server:
        repository = client.destination(parse_reference(f"{server.host}/x/y"))

        with pytest.raises(RegistryError, match="never comes to the end"):
            tags(repository)


def test_blobs_are_mounted_from_other_repositories(
    store: Store, client: Registries, plain_registry: Registry
) -> None:
    push(store, client, SMALL, f"{plain_registry.host}/mount/from:1")
    target = client.destination(parse_reference(f"{plain_registry.host}/mount/to:1"))
    pusher = Pusher(store.content, target, CancelToken(), origins=lambda _digest: ["mount/from"])

    pushed = pusher.push(put(store, SMALL), ["1"])

    assert pushed.sent == 0
    assert target.manifest("1").descriptor.digest == SMALL.digest


@pytest.mark.parametrize("image", [SMALL, LARGE])
@pytest.mark.parametrize("fault", list(FAULTS))
def test_a_spoilt_upload_arrives(
    store: Store, client: Registries, plain_registry: Registry, fault: str, image: Image
) -> None:
    upstream = Spoiler(plain_registry.host, lambda _seen, _count: None)

    left = {"POST": 1, "PUT": 1, "PATCH": 1}

    def spoil(seen: Seen, _count: int) -> Answer | None:
        if "/blobs/" not in seen.path or not left.get(seen.method):
            return None
        left[seen.method] -= 1
        return FAULTS[fault](upstream, seen)

    name = f"spoilt/{fault}-{image.digest[7:15]}"
    with spoiling(plain_registry.host, spoil) as proxy:
        upstream.host = proxy.host
        push(store, client, image, f"{proxy.host}/{name}:1")

    with Store.open(f"{store.root}-2") as other:
        pull(other, client, f"{plain_registry.host}/{name}:1")
        assert kept(other) == {image.digest, *image.blobs}


def test_a_part_that_the_registry_knows_late_is_waited_for(
    store: Store, client: Registries, plain_registry: Registry
) -> None:
    said = b'{"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown"}]}'

    def spoil(seen: Seen, count: int) -> Answer | None:
        is_early = seen.method == "PUT" and "/manifests/" in seen.path and count == 1
        return Answer(400, {"Content-Type": "application/json"}, said) if is_early else None

    with spoiling(plain_registry.host, spoil) as proxy:
        push(store, client, SMALL, f"{proxy.host}/late/part:1")

    target = client.destination(parse_reference(f"{plain_registry.host}/late/part:1"))
    assert target.manifest("1").descriptor.digest == SMALL.digest


def test_an_index_is_pushed_children_first(
    store: Store, client: Registries, plain_registry: Registry
) -> None:
    entries = tuple(
        put(store, image)._replace(platform=Platform("linux", architecture))
        for image, architecture in ((SMALL, "amd64"), (LARGE, "arm64"))
    )
    content = to_json(Index(media.INDEX, entries))
    store.content.put(content)
    reference = parse_reference(f"{plain_registry.host}/index/x:1")

    pushed = Pusher(store.content, client.destination(reference), CancelToken()).push(
        describe(content, media.INDEX), ["1"]
    )

    assert client.destination(reference).manifest("1").content == content
    assert pushed.sent == 4


def test_an_index_whose_parts_are_nowhere_is_refused(
    store: Store, client: Registries, plain_registry: Registry
) -> None:
    absent = Descriptor(media.MANIFEST, parse_digest(f"sha256:{'0' * 64}"), 10)
    content = to_json(Index(media.INDEX, (put(store, SMALL), absent)))
    store.content.put(content)
    target = client.destination(parse_reference(f"{plain_registry.host}/partial/x:1"))

    with pytest.raises(NotFound):
        Pusher(store.content, target, CancelToken()).push(describe(content, media.INDEX), ["1"])

    assert target.head("1") is None


def test_what_refers_to_an_image_is_found(
    store: Store, client: Registries, plain_registry: Registry
) -> None:
    name = f"{plain_registry.host}/refers/x"
    push(store, client, SMALL, f"{name}:1")
    described = {"mediaType": media.MANIFEST, "digest": SMALL.digest, "size": len(SMALL.manifest)}
    signature = image_of(layer(sig=b"1"), subject=described, artifactType="application/x-sig")

    push(store, client, signature, f"{name}:sig")

    repository = client.destination(parse_reference(name))
    found = referrers(repository, parse_digest(SMALL.digest), "application/x-sig")
    assert [one.digest for one in found] == [signature.digest]
    assert referrers(repository, parse_digest(SMALL.digest), "application/y") == ()


def test_the_credentials_of_a_registry_stay_there(store: Store, client: Registries) -> None:
    """An upload may be sent elsewhere; who we are is nobody's business there."""
    with serving(lambda _seen: Answer(201)) as other:

        def script(seen: Seen) -> Answer | None:
            if seen.headers.get("Authorization") is None and seen.path != "/v2/":
                return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
            if seen.method == "POST":
                return Answer(202, {"Location": f"http://{other.host}/upload?state=1"})
            return Answer(404 if seen.method == "HEAD" else 201)

        with serving(script) as server:
            _log_in(client, server.host)
            push(store, client, SMALL, f"{server.host}/a/b:1")

        assert other.paths("PUT") != []
        assert all("Authorization" not in seen.headers for seen in other.seen)


def _log_in(client: Registries, host: str) -> None:
    path = client.credentials.path
    os.makedirs(os.path.dirname(path))
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"auths": {host: {"auth": "dTpw"}}}, file)
