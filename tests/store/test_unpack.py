"""Images become snapshots."""

import os
from pathlib import Path

import pytest

from builder.errors import InvalidImage, NotFound
from builder.oci.config import ImageConfig
from builder.oci.descriptor import Descriptor, Manifest
from builder.oci.digest import digest_of
from builder.store.store import Store
from builder.store.unpack import find_unpacked, unpack_image
from tests.store.conftest import new_image, new_snapshot

pytestmark = pytest.mark.root

Made = tuple[Store, Manifest, ImageConfig]


@pytest.fixture
def made(store: Store) -> Made:
    """An image in one store, to be unpacked into another."""
    lower = new_snapshot(store, None, {"etc/a": b"a", "etc/gone": b"x"})
    upper = new_snapshot(store, lower, {"etc/gone": None, "b": b"b"})
    _, manifest = store.images.manifest(new_image(store, upper))
    return store, manifest, store.images.config(manifest)


def test_an_image_is_unpacked_from_a_provider(made: Made, tmp_path: Path) -> None:
    origin, manifest, config = made
    with Store.open(str(tmp_path / "other")) as other:
        snapshot = unpack_image(other, manifest, config, provider=origin.content)

        with other.snapshots.viewed(snapshot) as fd:
            assert sorted(os.listdir(fd)) == ["b", "etc"]
            assert os.listdir(f"/proc/self/fd/{fd}/etc") == ["a"]
        assert find_unpacked(other, config.diff_ids) == snapshot
        layers = other.layers.ensure_all(snapshot, "zstd")
        assert [layer.descriptor for layer in layers] == list(manifest.layers)


def test_a_second_time_nothing_is_done(made: Made, tmp_path: Path) -> None:
    origin, manifest, config = made
    with Store.open(str(tmp_path / "other")) as other:
        first = unpack_image(other, manifest, config, provider=origin.content)

        assert unpack_image(other, manifest, config) == first
        assert len(os.listdir(other.paths.snapshots)) == 2


def test_shared_layers_are_unpacked_once(made: Made, tmp_path: Path) -> None:
    origin, manifest, config = made
    lower = config._replace(diff_ids=config.diff_ids[:1])
    with Store.open(str(tmp_path / "other")) as other:
        below = unpack_image(
            other, manifest._replace(layers=manifest.layers[:1]), lower, provider=origin.content
        )

        above = unpack_image(other, manifest, config, provider=origin.content)

        assert below is not None
        assert above is not None
        assert above.parent == below.id


def test_a_missing_blob_is_not_found_and_leaves_nothing(made: Made, tmp_path: Path) -> None:
    _, manifest, config = made
    with Store.open(str(tmp_path / "other")) as other:
        with pytest.raises(NotFound):
            unpack_image(other, manifest, config)

        assert os.listdir(other.paths.snapshots) == []


def test_a_layer_with_another_diff_id_is_refused_and_leaves_nothing(made: Made) -> None:
    store, manifest, config = made
    forged = config._replace(diff_ids=(digest_of(b"forged"), *config.diff_ids[1:]))
    before = os.listdir(store.paths.snapshots)

    with pytest.raises(InvalidImage):
        unpack_image(store, manifest, forged)

    assert os.listdir(store.paths.snapshots) == before
    assert store.content.has(manifest.layers[0].digest)


def test_a_corrupt_blob_is_set_aside_so_that_the_next_try_fetches_it(
    made: Made, tmp_path: Path
) -> None:
    origin, manifest, config = made
    with Store.open(str(tmp_path / "other")) as other:
        for layer in manifest.layers:
            other.content.fetch(origin.content, layer)
        with open(other.content.path(manifest.layers[0].digest), "r+b") as blob:
            blob.seek(-4, os.SEEK_END)
            blob.write(b"\0\0\0\1")

        with pytest.raises(InvalidImage):
            unpack_image(other, manifest, config)

        assert not other.content.has(manifest.layers[0].digest)
        assert unpack_image(other, manifest, config, provider=origin.content) is not None


def test_config_and_manifest_must_agree(made: Made) -> None:
    store, manifest, config = made

    with pytest.raises(InvalidImage):
        unpack_image(store, manifest._replace(layers=()), config)


def test_an_image_without_layers_has_no_snapshot(made: Made) -> None:
    store, manifest, config = made
    empty = Descriptor("x", digest_of(b""), 0)

    found = unpack_image(
        store, manifest._replace(config=empty, layers=()), config._replace(diff_ids=())
    )

    assert found is None
    assert find_unpacked(store, ()) is None
