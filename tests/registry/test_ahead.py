"""Blobs that leave for a registry before they are finished."""

import os
import threading
from pathlib import Path

import pytest

from builder.concurrency import CancelToken
from builder.errors import BuilderError, Cancelled
from builder.oci.descriptor import Descriptor
from builder.oci.digest import digest_of
from builder.oci.reference import parse_reference
from builder.registry.ahead import FIRST_BYTES, THREAD, Ahead
from builder.registry.client import Registries
from builder.registry.repository import Repository
from builder.store.store import Store
from tests.registry.images import push
from tests.registry.servers import Answer, Registry, Seen, image_of, serving, spoiling
from tests.registry.test_commands import Program, program, well

__all__ = ["program"]
PIECE = os.urandom(1 << 20)


def write(store: Store, mebibytes: int, *, is_committed: bool = True) -> Descriptor:
    """Write a blob piece by piece."""
    content = PIECE * mebibytes + os.urandom(10)
    digest = digest_of(content)
    with store.content.ingest() as ingest:
        for start in range(0, len(content), len(PIECE)):
            ingest.write(content[start : start + len(PIECE)])
        if is_committed:
            ingest.commit(digest, is_verified=True)
    return Descriptor("x", digest, len(content))


def repository_of(client: Registries, host: str, path: Path) -> Repository:
    name = path.name.lower().replace("_", "-").strip("-")
    return client.destination(parse_reference(f"{host}/ahead/{name}"))


def test_what_was_written_is_there(
    store: Store, client: Registries, plain_registry: Registry, tmp_path: Path
) -> None:
    repository = repository_of(client, plain_registry.host, tmp_path)

    with Ahead(store.content, repository, CancelToken()):
        large = [write(store, 12), write(store, 9)]
        small = write(store, 1)
    later = write(store, 9)

    there = [repository.has_blob(one) for one in (*large, small, later)]
    assert there == [True, True, False, False]


def test_what_comes_to_nothing_leaves_nothing(
    store: Store, client: Registries, plain_registry: Registry, tmp_path: Path
) -> None:
    asked: list[str] = []

    def watch(seen: Seen, _count: int) -> None:
        asked.append(seen.method)

    with spoiling(plain_registry.host, watch) as proxy:
        repository = repository_of(client, proxy.host, tmp_path)
        with Ahead(store.content, repository, CancelToken()):
            given_up = write(store, 9, is_committed=False)

        assert not repository.has_blob(given_up)
    assert "PATCH" in asked
    assert "DELETE" in asked
    assert "PUT" not in asked


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
@pytest.mark.parametrize("status", [401, 404, 503])
def test_failures_are_the_pushs_business(
    store: Store, client: Registries, method: str, status: int
) -> None:
    def script(seen: Seen) -> Answer | None:
        if seen.method == method:
            return Answer(status)
        place = {"Location": "/v2/a/b/blobs/uploads/1"}
        return {"POST": Answer(202, place), "PATCH": Answer(202, place)}.get(seen.method)

    with serving(script) as server:
        repository = client.destination(parse_reference(f"{server.host}/a/b"))
        with Ahead(store.content, repository, CancelToken()):
            write(store, 9)

        assert method in {seen.method for seen in server.seen}


def failing(store: Store, repository: Repository, token: CancelToken) -> None:
    """Fail, or be cancelled, while a blob is on its way."""
    with Ahead(store.content, repository, token), store.content.ingest() as ingest:
        ingest.write(PIECE * (FIRST_BYTES // len(PIECE) + 1))
        token.check()
        raise BuilderError("enough")


def test_leaving_by_an_error_ends_what_is_on_its_way(
    store: Store, client: Registries, plain_registry: Registry, tmp_path: Path
) -> None:
    repository = repository_of(client, plain_registry.host, tmp_path)

    with pytest.raises(BuilderError, match="enough"):
        failing(store, repository, CancelToken())

    assert THREAD not in {thread.name for thread in threading.enumerate()}
    assert store.content.follow is None


def test_cancelling_ends_it(
    store: Store, client: Registries, plain_registry: Registry, tmp_path: Path
) -> None:
    repository = repository_of(client, plain_registry.host, tmp_path)
    token = CancelToken()
    token.cancel()

    with pytest.raises(Cancelled):
        failing(store, repository, token)

    assert THREAD not in {thread.name for thread in threading.enumerate()}


@pytest.mark.namespaces
@pytest.mark.root
def test_a_build_sends_a_new_layer_once(
    program: Program, store: Store, client: Registries, plain_registry: Registry, tmp_path: Path
) -> None:
    base = f"{plain_registry.host}/ahead-base/{tmp_path.name.lower().replace('_', '-')}:1"
    push(store, client, image_of(b"\0" * 1024), base)
    (tmp_path / "context").mkdir()
    (tmp_path / "context/big").write_bytes(os.urandom(10 << 20))
    (tmp_path / "context/small").write_bytes(os.urandom(1 << 20))
    sent: list[int] = []

    def watch(seen: Seen, _count: int) -> None:
        if seen.method in {"PATCH", "PUT"} and "/blobs/" in seen.path:
            sent.append(len(seen.body))

    with spoiling(plain_registry.host, watch) as proxy:
        where = base.replace(plain_registry.host, proxy.host)
        (tmp_path / "context/Dockerfile").write_text(f"FROM {where}\nCOPY . /\n")
        target = where.replace("ahead-base", "ahead-built")
        well(program("build", "-q", "--push", "-t", target, str(tmp_path / "context")))
        pulled = program("pull", "-q", target, BUILDER_ROOT=str(tmp_path / "second"))

    well(pulled)
    assert len([size for size in sent if size > FIRST_BYTES]) == 1
