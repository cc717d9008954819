import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from builder.concurrency import CancelToken
from builder.errors import (
    BuilderError,
    Cancelled,
    InvalidImage,
    NetworkError,
    NotInRegistry,
    RateLimited,
    RegistryError,
)
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.registry.client import Registries
from builder.registry.pull import Source
from builder.store.store import Store
from tests.engine.archives import layer
from tests.registry.images import AMD64, kept, pull, push
from tests.registry.servers import INDEX, Answer, Image, Registry, Seen, image_of, serving, spoiling

GOOD = image_of(layer(file=os.urandom(300_000)))
EVIL = image_of(layer(file=b"evil"))


def test_an_image_arrives_whole(store: Store, client: Registries, plain_registry: Registry) -> None:
    push(store, client, GOOD, f"{plain_registry.host}/whole/x:1")
    with Store.open(f"{store.root}-2") as other:
        located = pull(other, client, f"{plain_registry.host}/whole/x:1")

        assert located.root.descriptor.digest == GOOD.digest
        assert kept(other) == {GOOD.digest, *GOOD.blobs}


def test_what_is_here_is_not_fetched(store: Store, client: Registries) -> None:
    for blob in GOOD.blobs.values():
        store.content.put(blob)
    with serving(GOOD.script) as server:
        pull(store, client, f"{server.host}/a/b:1")

        assert [path for path in server.paths() if "/blobs/" in path] == []


def test_an_unknown_image_is_not_found(
    client: Registries, plain_registry: Registry, store: Store
) -> None:
    with pytest.raises(NotInRegistry, match="manifest unknown") as caught:
        pull(store, client, f"{plain_registry.host}/none/such:1")

    assert caught.value.exit_status == 13


def spoilt(path: str, *answers: Answer, image: Image = GOOD) -> Callable[[Seen], Answer | None]:
    """Give these answers one after the other where `path` occurs, then the truth."""
    left = list(answers)

    def script(seen: Seen) -> Answer | None:
        if path in seen.path and seen.method == "GET" and left:
            return left.pop(0)
        return image.script(seen)

    return script


@pytest.mark.parametrize(
    "answers",
    [
        (Answer(503),),
        (Answer(429, {"Retry-After": "0"}), Answer(500)),
        (Answer(200, {"Content-Length": "300000"}, b"abc", is_broken=True),),
        (Answer(200, {}, b"x" * len(GOOD.blobs[GOOD.layer])),),
    ],
)
def test_what_goes_wrong_once_is_tried_again(
    store: Store, client: Registries, answers: tuple[Answer, ...]
) -> None:
    with serving(spoilt(GOOD.layer, *answers)) as server:
        pull(store, client, f"{server.host}/a/b:1")

    assert store.content.verify(GOOD.layer)  # type: ignore[arg-type]


def test_a_broken_transfer_is_continued(store: Store, client: Registries) -> None:
    blob = GOOD.blobs[GOOD.layer]
    asked: list[str] = []

    def script(seen: Seen) -> Answer | None:
        if not seen.path.endswith(GOOD.layer):
            return GOOD.script(seen)
        asked.append(seen.headers.get("Range", ""))
        start = int(asked[-1].removeprefix("bytes=").removesuffix("-") or 0)
        rest = blob[start:]
        headers = {
            "Content-Length": str(len(rest)),
            "Content-Range": f"bytes {start}-{len(blob) - 1}/{len(blob)}",
        }
        return Answer(206 if start else 200, headers, rest[:100_000], is_broken=len(rest) > 100_000)

    with serving(script) as server:
        pull(store, client, f"{server.host}/a/b:1")

    assert asked == ["", "bytes=100000-", "bytes=200000-", "bytes=300000-"][: len(asked)]
    assert len(asked) > 2


def test_wrong_bytes_are_not_kept_and_the_next_pull_works(store: Store, client: Registries) -> None:
    wrong = Answer(200, {}, b"y" * len(GOOD.blobs[GOOD.layer]))
    with serving(spoilt(GOOD.layer, wrong, wrong, wrong)) as server:
        with pytest.raises(InvalidImage):
            pull(store, client, f"{server.host}/a/b:1")
        assert GOOD.layer not in kept(store)

        pull(store, client, f"{server.host}/a/b:1")

    assert GOOD.layer in kept(store)


def test_a_rate_limit_beyond_patience_is_told(store: Store, client: Registries) -> None:
    with (
        serving(spoilt("/manifests/", Answer(429, {"Retry-After": "3600"}))) as server,
        pytest.raises(RateLimited) as caught,
    ):
        pull(store, client, f"{server.host}/a/b:1")

    assert caught.value.exit_status == 12
    assert "3600 seconds" in str(caught.value.fix)


def test_a_closed_port_is_a_network_error(store: Store, client: Registries) -> None:
    with serving(GOOD.script) as server:
        host = server.host

    with pytest.raises(NetworkError, match="times") as caught:
        pull(store, client, f"{host}/a/b:1")

    assert caught.value.exit_status == 10


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Content-Type": INDEX}, GOOD.manifest),
        Answer(200, {"Docker-Content-Digest": GOOD.digest}, EVIL.manifest),
        Answer(200, {}, b" " * (5 << 20)),
        Answer(200, {}, b'{"schemaVersion": 1}'),
        Answer(200, {}, json.dumps({**json.loads(GOOD.manifest), "manifests": []}).encode()),
        Answer(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08"),
        Answer(200, {}, b"[" * 200_000),
    ],
)
def test_a_lying_manifest_is_refused(store: Store, client: Registries, answer: Answer) -> None:
    with serving(spoilt("/manifests/", answer)) as server, pytest.raises(BuilderError):
        pull(store, client, f"{server.host}/a/b:1")

    assert kept(store) == set()


def test_a_pinned_digest_must_be_met(store: Store, client: Registries) -> None:
    with serving(EVIL.script) as server, pytest.raises(InvalidImage):
        pull(store, client, f"{server.host}/a/b@{GOOD.digest}")


@pytest.mark.parametrize("size", [5, 1 << 50, -1, "12", 1.5, None])
def test_a_lying_size_is_refused(store: Store, client: Registries, size: Any) -> None:
    document = json.loads(GOOD.manifest)
    document["layers"][0]["size"] = size
    liar = Image(json.dumps(document).encode(), GOOD.blobs)
    with serving(liar.script) as server, pytest.raises(BuilderError):
        pull(store, client, f"{server.host}/a/b:1")

    assert GOOD.layer not in kept(store)


def test_what_a_registry_says_cannot_steer_the_terminal(store: Store, client: Registries) -> None:
    said = json.dumps({"errors": [{"code": "X", "message": "\x1b]0;owned\x07\r"}]}).encode()
    with (
        serving(spoilt("/manifests/", Answer(400, {}, said))) as server,
        pytest.raises(RegistryError) as caught,
    ):
        pull(store, client, f"{server.host}/a/b:1")

    assert caught.value.what.isprintable()


def index(*entries: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


def entry(image: Image, **platform: str) -> dict[str, Any]:
    described = {"mediaType": json.loads(image.manifest)["mediaType"], "digest": image.digest}
    return {**described, "size": len(image.manifest), "platform": platform or None}


def indexed(document: bytes, *images: Image) -> Callable[[Seen], Answer | None]:
    def script(seen: Seen) -> Answer | None:
        for image in images:
            if seen.path.endswith(image.digest):
                return image.script(seen)
        if "/manifests/" in seen.path:
            return Answer(200, {"Content-Type": INDEX}, document)
        found = (image.script(seen) for image in images)
        return next((answer for answer in found if answer is not None), None)

    return script


def test_of_an_index_one_platform_is_fetched(store: Store, client: Registries) -> None:
    document = index(
        entry(EVIL, os="linux", architecture="arm64"), entry(GOOD, os="linux", architecture="amd64")
    )
    with serving(indexed(document, GOOD, EVIL)) as server:
        located = pull(store, client, f"{server.host}/a/b:1")

    assert located.chosen.descriptor.digest == GOOD.digest
    assert EVIL.digest not in kept(store)


@pytest.mark.parametrize(
    "document",
    [
        index(),
        index(entry(GOOD)),
        index(entry(GOOD, os="linux", architecture="s390x")),
        index(*[entry(GOOD, os="linux", architecture="amd64")] * 20_000),
        index({**entry(GOOD, os="linux", architecture="amd64"), "size": 1}),
    ],
)
def test_an_index_without_the_platform_is_refused(
    store: Store, client: Registries, document: bytes
) -> None:
    with serving(indexed(document, GOOD)) as server, pytest.raises(BuilderError):
        pull(store, client, f"{server.host}/a/b:1", Platform("linux", "amd64"))

    assert kept(store) == set()


def test_a_foreign_layer_comes_from_its_url(store: Store, client: Registries) -> None:
    document = json.loads(GOOD.manifest)
    with serving(GOOD.script) as elsewhere:
        url = f"http://{elsewhere.host}/blobs/{GOOD.layer}"
        document["layers"][0]["urls"] = [url]
        foreign = Image(
            json.dumps(document).encode(),
            {digest: blob for digest, blob in GOOD.blobs.items() if digest != GOOD.layer},
        )
        with serving(foreign.script) as server:
            pull(store, client, f"{server.host}/a/b:1")

    assert GOOD.layer in kept(store)


def test_everything_spoilt_once_still_arrives(
    store: Store, client: Registries, plain_registry: Registry
) -> None:
    push(store, client, GOOD, f"{plain_registry.host}/spoilt/x:1")
    faults = [Answer(500), Answer(429, {"Retry-After": "0"}), Answer(0, is_broken=True)]

    def spoil(seen: Seen, count: int) -> Answer | None:
        is_hit = count <= 2 and ("/blobs/" in seen.path or "/manifests/" in seen.path)
        return faults[(count + len(seen.path)) % 2] if is_hit else None

    with spoiling(plain_registry.host, spoil) as proxy, Store.open(f"{store.root}-2") as other:
        pull(other, client, f"{proxy.host}/spoilt/x:1")

        assert kept(other) == {GOOD.digest, *GOOD.blobs}


@pytest.mark.parametrize("is_head_sent", [False, True])
def test_cancelling_ends_a_wait_at_once(
    store: Store, environ: dict[str, str], *, is_head_sent: bool
) -> None:
    token = CancelToken()
    release = threading.Event()

    def script(seen: Seen) -> Answer | None:
        if seen.path == "/v2/":
            return Answer(200)
        threading.Timer(0.1, token.cancel).start()
        if is_head_sent:
            return Answer(200, {"Content-Length": "100"}, b"{")
        release.wait(10)
        return None

    with serving(script) as server, Registries(environ, token) as client:
        source = Source(store, client, parse_reference(f"{server.host}/a/b:1"), token)
        begun = time.monotonic()

        with pytest.raises(Cancelled):
            source.locate(AMD64)

        assert time.monotonic() - begun < 5
        release.set()


def test_a_manifest_that_breaks_off_is_fetched_again(store: Store, client: Registries) -> None:
    half = Answer(200, {"Content-Length": "999"}, GOOD.manifest[:50], is_broken=True)
    with serving(spoilt("/manifests/", half)) as server:
        pull(store, client, f"{server.host}/a/b:1")

    assert GOOD.digest in kept(store)
