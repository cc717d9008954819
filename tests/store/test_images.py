"""Names, images, and what other tools see of them."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError, Conflict, NotFound
from builder.oci import descriptor as oci_descriptor
from builder.oci import media
from builder.oci.descriptor import Descriptor, Index
from builder.oci.digest import digest_of
from builder.oci.platform import Platform
from builder.oci.reference import Reference, parse_reference
from builder.store.store import Store
from tests.store.conftest import new_image, new_snapshot

pytestmark = pytest.mark.root

APP = parse_reference("app:v1")
OTHER = parse_reference("registry.test:5000/team/app:v1")


def image(store: Store, content: bytes = b"1") -> Descriptor:
    return new_image(store, new_snapshot(store, None, {"f": content}))


def index_entries(store: Store) -> dict[str, str]:
    """Read `index.json`: ref.name to digest."""
    with open(store.paths.index, encoding="utf-8") as file:
        manifests = json.load(file)["manifests"]
    return {
        entry.get("annotations", {}).get("org.opencontainers.image.ref.name", ""): entry["digest"]
        for entry in manifests
    }


def test_a_name_finds_its_image(store: Store) -> None:
    descriptor = image(store)

    store.images.tag(APP, descriptor)

    found = store.images.get(APP)
    assert found is not None
    assert (found.descriptor, found.names) == (descriptor, (APP,))
    _, manifest = store.images.manifest(descriptor)
    assert found.image_id == manifest.config.digest


def test_names_survive_the_process_and_their_blobs_are_durable(store: Store, root: str) -> None:
    descriptor = image(store)
    store.images.tag(APP, descriptor)
    store.close()

    with Store.open(root) as other:
        found = other.images.resolve("app:v1")
        assert found is not None
        assert found.descriptor == descriptor
        assert other.content.unsynced() == []


def test_an_image_is_found_by_any_beginning_of_its_ids(store: Store) -> None:
    store.images.tag(APP, image(store))
    (stored,) = store.images.list()
    digest, image_id = stored.descriptor.digest, stored.image_id

    for text in (digest, digest[7:], digest[7:19], image_id, image_id[7:19], image_id[:19]):
        assert store.images.resolve(text) == stored


def test_a_beginning_that_fits_two_images_is_a_conflict(store: Store) -> None:
    for number in range(20):  # more images than hexadecimal digits
        store.images.add(image(store, b"%d" % number))

    conflicts = 0
    for digit in "0123456789abcdef":
        try:
            store.images.resolve(digit)
        except Conflict:
            conflicts += 1
    assert conflicts


def test_a_name_that_looks_like_an_id_wins(store: Store) -> None:
    first, second = image(store, b"1"), image(store, b"2")
    store.images.add(first)
    store.images.tag(parse_reference(first.digest[7:19]), second)

    found = store.images.resolve(first.digest[7:19])

    assert found is not None
    assert found.descriptor == second


def test_an_unknown_name_is_none(store: Store) -> None:
    for text in ("absent", "absent:v1", "ffff", "sha256:ffff", "a b", "", "UPPER"):
        assert store.images.resolve(text) is None


def test_a_digest_in_the_reference_must_be_the_images(store: Store) -> None:
    descriptor = image(store)
    store.images.tag(OTHER, descriptor)

    found = store.images.resolve(f"registry.test:5000/team/app@{descriptor.digest}")

    assert found is not None
    assert store.images.resolve(f"elsewhere.test/app@{descriptor.digest}") is None
    assert store.images.resolve(f"registry.test:5000/team/app@{digest_of(b'x')}") is None


def test_the_image_that_lost_its_name_dangles(store: Store) -> None:
    first, second = image(store, b"1"), image(store, b"2")
    store.images.tag(APP, first)

    store.images.tag(APP, second)

    names = {stored.descriptor: stored.names for stored in store.images.list()}
    assert names == {first: (), second: (APP,)}


def test_untagging_says_whether_the_name_was_there(store: Store) -> None:
    store.images.tag(APP, image(store))

    assert store.images.untag(APP)
    assert not store.images.untag(APP)
    assert store.images.get(APP) is None


def test_removing_an_image_removes_its_names(store: Store) -> None:
    descriptor = image(store)
    store.images.tag(APP, descriptor)
    store.images.tag(OTHER, descriptor)

    assert set(store.images.remove(descriptor.digest)) == {APP, OTHER}
    assert store.images.list() == ()
    assert index_entries(store) == {}


def test_an_incomplete_image_gets_no_name(store: Store) -> None:
    descriptor = image(store)
    _, manifest = store.images.manifest(descriptor)
    store.content.set_aside(manifest.layers[0].digest)

    with pytest.raises(NotFound):
        store.images.tag(APP, descriptor)

    assert store.images.list() == ()
    assert index_entries(store) == {}


def test_the_index_lists_full_names_and_bare_tags(store: Store) -> None:
    first, second = image(store, b"1"), image(store, b"2")
    store.images.tag(APP, first)
    store.images.tag(parse_reference("app:v2"), second)
    store.images.add(image(store, b"3"))

    entries = index_entries(store)

    assert entries["app:v1"] == entries["v1"] == first.digest
    assert entries["app:v2"] == entries["v2"] == second.digest
    assert len(entries) == 5


def test_naming_again_changes_nothing(store: Store) -> None:
    descriptor = image(store)
    store.images.tag(APP, descriptor)
    before = os.stat(store.paths.index)

    store.images.tag(APP, descriptor)

    assert os.stat(store.paths.index) == before


def test_an_index_has_the_id_of_this_machines_variant(store: Store) -> None:
    inner = image(store)
    platform = Platform("linux", "amd64")
    absent = Descriptor(media.MANIFEST, digest_of(b"absent"), 7, Platform("linux", "s390x"))
    content = oci_descriptor.to_json(
        Index(media.INDEX, (inner._replace(platform=platform), absent))
    )
    descriptor = Descriptor(media.INDEX, store.content.put(content), len(content))

    store.images.tag(APP, descriptor)

    found = store.images.get(APP)
    assert found is not None
    assert store.images.manifest(descriptor, platform)[0].digest == inner.digest
    assert found.image_id == store.images.manifest(inner)[1].config.digest
    with pytest.raises(NotFound):
        store.images.manifest(descriptor, Platform("linux", "mips"))


def test_sources_are_remembered(store: Store) -> None:
    descriptor = image(store)
    assert store.images.source(OTHER) is None

    store.images.remember_source(OTHER, descriptor)

    found = store.images.source(OTHER)
    assert found is not None
    assert found[0] == descriptor
    assert store.images.list() == ()


def test_users_are_living_containers(store: Store) -> None:
    descriptor = image(store)
    store.images.tag(APP, descriptor)
    os.mkdir(f"{store.paths.containers}/c1")
    store.pins.add("container:c1", images=[descriptor.digest])
    store.pins.add("container:dead", images=[descriptor.digest])
    (stored,) = store.images.list()

    assert store.images.users(stored) == ("container:c1",)
    store.pins.drop("container:c1")
    assert store.images.users(stored) == ()


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
@pytest.mark.parametrize("name", ["v1", "app:v1"])
def test_skopeo_reads_the_content(store: Store, tmp_path: Path, name: str) -> None:
    descriptor = image(store)
    store.images.tag(APP, descriptor)
    store.images.tag(parse_reference("app:v2"), image(store, b"2"))
    source = f"oci:{store.paths.content}:{name}"

    command = ["skopeo", "copy", "--quiet", source, f"oci:{tmp_path}/out:x"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/blobs/sha256" / descriptor.digest[7:]).exists()


@pytest.mark.skipif(shutil.which("umoci") is None, reason="needs umoci")
def test_umoci_unpacks_the_content(store: Store, tmp_path: Path) -> None:
    store.images.tag(APP, image(store))

    command = ["umoci", "unpack", "--image", f"{store.paths.content}:v1", f"{tmp_path}/bundle"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle/rootfs/f").read_bytes() == b"1"


references = st.sampled_from([parse_reference(f"r{n}:t{m}") for n in range(3) for m in range(2)])
actions = st.lists(
    st.one_of(
        st.tuples(st.just("tag"), references, st.integers(0, 2)),
        st.tuples(st.just("untag"), references, st.just(0)),
        st.tuples(st.just("remove"), st.just(APP), st.integers(0, 2)),
    ),
    max_size=10,
)


@settings(max_examples=15, deadline=None)
@given(actions=actions)
def test_names_behave_like_a_map_and_the_index_mirrors_it(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, Reference, int]]
) -> None:
    expected: dict[Reference, Descriptor] = {}
    with Store.open(str(tmp_path_factory.mktemp("images"))) as store:
        images = [image(store, b"%d" % number) for number in range(3)]
        for kind, reference, number in actions:
            if kind == "tag":
                store.images.tag(reference, images[number])
                expected[reference] = images[number]
            elif kind == "untag":
                assert store.images.untag(reference) == (expected.pop(reference, None) is not None)
            else:
                store.images.remove(images[number].digest)
                expected = {r: d for r, d in expected.items() if d != images[number]}

        listed = {name: s.descriptor for s in store.images.list() for name in s.names}
        mirrored = {n: d for n, d in index_entries(store).items() if n.count(":") == 1}

        assert listed == expected
        assert mirrored == {r.familiar: d.digest for r, d in expected.items()}


def test_an_error_is_one_that_users_can_act_on(store: Store) -> None:
    with pytest.raises(BuilderError) as caught:
        store.images.tag(APP, Descriptor(media.MANIFEST, digest_of(b"absent"), 3))

    assert caught.value.fix
