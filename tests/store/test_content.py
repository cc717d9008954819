"""Blobs."""

import io
import os
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import InvalidImage, NotFound, StoreError
from builder.oci.descriptor import Descriptor
from builder.oci.digest import digest_of
from builder.oci.provider import Stream
from builder.store.store import Store


class Archive:
    """A provider with one answer for everything."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked = 0

    def open_blob(self, descriptor: Descriptor) -> Stream:
        del descriptor
        self.asked += 1
        return io.BytesIO(self.content)


def ingest(
    store: Store, content: bytes, size_bytes: int | None = None, *, is_verified: bool = False
) -> None:
    """Write something under the digest of `hello`."""
    with store.content.ingest() as blob:
        blob.write(content)
        blob.commit(digest_of(b"hello"), size_bytes, is_verified=is_verified)


def mode_of(store: Store, content: bytes) -> int:
    return os.stat(store.content.path(digest_of(content))).st_mode & 0o777


def test_what_was_put_is_read_back(store: Store) -> None:
    digest = store.content.put(b"hello")

    assert store.content.read(digest, limit=100) == b"hello"
    assert store.content.size(digest) == 5
    assert list(store.content.walk()) == [(digest, 5)]
    assert os.listdir(store.paths.ingest) == []


@pytest.mark.parametrize("is_verified", [True, False])
def test_a_wrong_size_is_refused_and_nothing_kept(store: Store, is_verified: bool) -> None:  # noqa: FBT001 - pytest passes it
    with pytest.raises(InvalidImage):
        ingest(store, b"hello", 6, is_verified=is_verified)

    assert not store.content.has(digest_of(b"hello"))
    assert os.listdir(store.paths.ingest) == []


def test_a_wrong_digest_is_refused_and_the_right_bytes_are_taken_next(store: Store) -> None:
    with pytest.raises(InvalidImage):
        ingest(store, b"hullo")

    ingest(store, b"hello")

    assert store.content.has(digest_of(b"hello"))


def test_an_error_while_writing_leaves_nothing(store: Store) -> None:
    with pytest.raises(TypeError), store.content.ingest() as blob:
        blob.write("not bytes")  # type: ignore[arg-type]

    assert os.listdir(store.paths.ingest) == []


def test_flushed_blobs_are_marked(store: Store) -> None:
    digest = store.content.put(b"hello")
    before = mode_of(store, b"hello")

    store.content.flush([digest, digest_of(b"absent")])

    assert (before, mode_of(store, b"hello")) == (0o600, 0o400)
    assert store.content.unsynced() == []


def test_a_few_blobs_are_written_ahead_and_many_are_durable_then(store: Store) -> None:
    few = [store.content.put(bytes([n])) for n in range(3)]
    store.content.flush_ahead([*few, digest_of(b"absent")])
    assert set(store.content.unsynced()) == set(few)

    many = [store.content.put(bytes([n])) for n in range(20)]
    store.content.flush_ahead(many)
    assert store.content.unsynced() == []


def test_many_blobs_are_flushed_at_once(store: Store) -> None:
    digests = [store.content.put(b"%d" % number) for number in range(20)]

    store.content.flush(digests)

    assert store.content.unsynced() == []


def test_writing_a_durable_blob_again_keeps_it_durable(store: Store) -> None:
    store.content.flush([store.content.put(b"hello")])

    ingest(store, b"hello", 5, is_verified=True)

    assert mode_of(store, b"hello") == 0o400
    assert os.listdir(store.paths.ingest) == []


def test_a_corrupt_blob_is_reported_and_set_aside(store: Store) -> None:
    digest = store.content.put(b"hello")
    os.chmod(store.content.path(digest), 0o600)
    with open(store.content.path(digest), "wb") as file:
        file.write(b"jello")

    with pytest.raises(StoreError, match="corrupt"):
        store.content.read(digest, limit=100)

    assert not store.content.has(digest)


def test_a_blob_above_the_limit_is_not_read(store: Store) -> None:
    digest = store.content.put(b"hello")

    with pytest.raises(InvalidImage, match="larger"):
        store.content.read(digest, limit=4)


def test_an_absent_blob_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.content.open(digest_of(b"absent"))
    assert not store.content.verify(digest_of(b"absent"))


def test_a_blob_of_another_size_than_its_descriptor_says_is_not_provided(store: Store) -> None:
    digest = store.content.put(b"hello")

    with pytest.raises(NotFound):
        store.content.open_blob(Descriptor("x", digest, 6))


def test_a_blob_is_fetched_once(store: Store) -> None:
    archive = Archive(b"hello")
    descriptor = Descriptor("x", digest_of(b"hello"), 5)

    store.content.fetch(archive, descriptor)
    store.content.fetch(archive, descriptor)

    assert archive.asked == 1
    assert store.content.read(descriptor.digest, limit=10) == b"hello"


@pytest.mark.parametrize("content", [b"hell", b"hello!", b"jello", b"hello" * 1_000_000])
def test_wrong_bytes_are_not_fetched(store: Store, content: bytes) -> None:
    with pytest.raises(InvalidImage):
        store.content.fetch(Archive(content), Descriptor("x", digest_of(b"hello"), 5))

    assert list(store.content.walk()) == []
    assert os.listdir(store.paths.ingest) == []


def test_what_a_killed_process_was_writing_is_swept(
    root: str, in_killed_child: Callable[[Callable[[], None]], None]
) -> None:
    def work() -> None:
        store = Store.open(root)
        store.content.ingest().write(b"hello")
        os.close(os.open(store.temporary() + "/file", os.O_CREAT))

    in_killed_child(work)

    with Store.open(root) as store:
        assert os.listdir(store.paths.ingest) == []
        assert os.listdir(store.paths.tmp) == []


@settings(max_examples=30, deadline=None)
@given(contents=st.lists(st.binary(max_size=3000), max_size=8))
def test_every_put_round_trips(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    with Store.open(str(tmp_path_factory.mktemp("content"))) as store:
        digests = [store.content.put(content) for content in contents]

        read = [store.content.read(digest, limit=3000) for digest in digests]

        assert read == contents
        assert {digest for digest, _ in store.content.walk()} == set(digests)


def test_what_was_written_here_is_known_until_somebody_touches_it(store: Store) -> None:
    digest = store.content.put(b"hello")
    fd = store.content.open(digest)
    before = store.content.is_as_written(digest, fd)

    os.truncate(store.content.path(digest), 3)

    assert (before, store.content.is_as_written(digest, fd)) == (True, False)
    os.close(fd)


def test_what_another_process_wrote_is_not_known(store: Store) -> None:
    digest = store.content.put(b"hello")
    with Store.open(store.paths.root) as other:
        fd = other.content.open(digest)

        assert not other.content.is_as_written(digest, fd)
        os.close(fd)
