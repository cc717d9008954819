import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from builder.oci import media
from builder.oci.descriptor import Descriptor
from builder.oci.digest import digest_of
from builder.oci.platform import Platform
from builder.oci.reference import Reference, parse_reference
from builder.store.gc import Scope, prune
from builder.store.lists import ListEntry, Lists, NamedList, list_json, parse_list
from builder.store.store import Store
from tests.store.conftest import AddImage, AddSnapshot

NAME = parse_reference("registry.example/many:1")
EVERYTHING = Scope(unused_images=True, dangling_images=True)
names = st.sampled_from(["a", "registry.example/x:2", "b@sha256:" + "0" * 64]).map(parse_reference)
entries = st.builds(
    ListEntry,
    st.builds(
        lambda text, size, architecture: Descriptor(
            media.MANIFEST, digest_of(text.encode()), size, Platform("linux", architecture)
        ),
        st.text(),
        st.integers(0, 1 << 40),
        st.sampled_from(["amd64", "arm64"]),
    ),
    st.text(),
)


@given(names, st.lists(entries, max_size=3).map(tuple))
def test_what_is_written_is_read(name: Reference, given_entries: tuple[ListEntry, ...]) -> None:
    named = NamedList(name, given_entries)

    assert parse_list(list_json(named)) == named


def entry_of(descriptor: Descriptor) -> ListEntry:
    return ListEntry(descriptor, f"registry.example/one@{descriptor.digest}")


def test_what_a_list_names_outlives_pruning_until_it_is_removed(
    root: str, add_snapshot: AddSnapshot, add_image: AddImage
) -> None:
    with Store.open(root) as store:
        image = add_image(store, add_snapshot(store, None, {"a": b"1"}))
        store.images.add(image)
        store.lists.save(NAME, (entry_of(image),))
        blobs = {part.digest for part in store.images.closure(image)}

    with Store.open(root) as store:
        prune(store, EVERYTHING)
        kept = {digest for digest, _ in store.content.walk()}
        store.lists.remove(NAME)
        prune(store, EVERYTHING)
        left = {digest for digest, _ in store.content.walk()}

    assert blobs <= kept
    assert not blobs & left


def test_a_list_outlives_the_database(root: str, add_image: AddImage) -> None:
    with Store.open(root) as store:
        image = add_image(store, None)
        store.lists.save(NAME, (entry_of(image),))
    Path(root, "builder.db").write_bytes(b"not a database")

    with Store.open(root) as store:
        prune(store, EVERYTHING)

        assert store.lists.get(NAME) == (entry_of(image),)
        assert store.content.has(image.digest)


def test_a_store_from_before_lists_has_none(root: str, add_image: AddImage) -> None:
    with Store.open(root) as store:
        os.rmdir(store.paths.lists)

        assert (store.lists.all(), store.lists.get(NAME)) == ([], None)
        assert not store.lists.remove(NAME)
        store.lists.save(NAME, (entry_of(add_image(store, None)),))

        assert [one.reference for one in store.lists.all()] == [NAME]


def test_a_file_that_is_no_list_keeps_nothing_and_harms_nothing(root: str) -> None:
    with Store.open(root) as store:
        Path(store.paths.lists, "0.json").write_bytes(b"{")
        Path(store.paths.lists, "1.json.12-3").write_bytes(b"{")

        assert Lists(store.paths).all() == []
        assert store.lists.marks() == set()
