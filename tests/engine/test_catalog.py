from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.engine.catalog import (
    ImageFilter,
    history_lines,
    image_filter,
    image_history,
    inspect_image,
    list_images,
)
from builder.engine.reclaim import CachePrune, ImagePrune, prune_cache, prune_images
from builder.engine.removal import remove_image, tag_image
from builder.errors import Conflict, NotFound, UsageError
from builder.exporters.export import export
from builder.exporters.output import Output
from builder.exporters.result import ImageResult
from builder.oci.config import History, ImageConfig, RunConfig
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.store.store import Store

AMD64 = Platform("linux", "amd64")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store")) as opened:
        yield opened


def keep(store: Store, *names: str, platform: Platform = AMD64, **labels: str) -> str:
    """Store an image without layers; return its ID."""
    config = ImageConfig(
        platform,
        RunConfig(cmd=("sh",), labels=tuple(labels.items())),
        history=(
            History("2020-01-01T00:00:00Z", "CMD sh", is_empty_layer=True),
            History("2020-01-02T00:00:00Z", "LABEL x", "note", is_empty_layer=True),
        ),
        created="2020-01-02T00:00:00Z",
    )
    references = tuple(parse_reference(name) for name in names)
    done = export(Output("image", names=references), [ImageResult(platform, config)], store)
    return str(done.config_digest)


def listed(store: Store, **filters: tuple[str, ...]) -> list[str]:
    wanted = image_filter(filters)
    return sorted(
        name.familiar for image in list_images(store, AMD64, wanted) for name in image.names
    )


def test_images_are_listed_by_reference_and_label(store: Store) -> None:
    keep(store, "one:1", "example.org/team/one:2", kind="a")
    keep(store, "two:1", kind="b")

    assert listed(store) == ["example.org/team/one:2", "one:1", "two:1"]
    assert listed(store, reference=("one",)) == ["one:1"]
    assert listed(store, reference=("*ne:1", "two")) == ["one:1", "two:1"]
    assert listed(store, reference=("example.org/*/one",)) == ["example.org/team/one:2"]
    assert listed(store, label=("kind=b",)) == ["two:1"]
    assert listed(store, label=("kind", "kind=c")) == []


def test_dangling_images_are_those_without_names(store: Store) -> None:
    dangling = keep(store, kind="a")
    keep(store, "one:1", kind="b")

    found = list_images(store, AMD64, ImageFilter(is_dangling=True))

    assert [image.image_id for image in found] == [dangling]
    assert listed(store, dangling=("false",)) == ["one:1"]


def test_an_unknown_filter_is_a_usage_error() -> None:
    with pytest.raises(UsageError) as caught:
        image_filter({"labl": ("x",)})
    with pytest.raises(UsageError):
        image_filter({"dangling": ("maybe",)})

    assert caught.value.fix == "did you mean label?"


def test_an_image_is_inspected_by_name_or_id(store: Store) -> None:
    image_id = keep(store, "one:1", kind="a")

    for name in ("one:1", image_id, image_id[7:19]):
        shown = inspect_image(store, name, AMD64)
        assert shown["Id"] == image_id
        assert shown["RepoTags"] == ["one:1"]
        assert shown["Architecture"] == "amd64"
        config = shown["Config"]
        assert isinstance(config, dict)
        assert (config["Cmd"], config["Labels"]) == (["sh"], {"kind": "a"})
    with pytest.raises(NotFound):
        inspect_image(store, "none:1", AMD64)


def test_an_image_of_another_platform_is_shown_too(store: Store) -> None:
    keep(store, "arm:1", platform=Platform("linux", "arm64"))

    assert listed(store) == ["arm:1"]
    assert inspect_image(store, "arm:1", AMD64)["Architecture"] == "arm64"


def test_history_comes_newest_first(store: Store) -> None:
    image_id = keep(store, "one:1")

    items = image_history(store, "one:1", AMD64)

    assert [item["CreatedBy"] for item in items] == ["LABEL x", "CMD sh"]
    assert [item["Id"] for item in items] == [image_id, "<missing>"]
    assert items[0]["Created"] == 1_577_923_200
    assert items[0]["Tags"] == ["one:1"]


def test_layers_that_history_does_not_tell_of_come_first() -> None:
    told = History("2020-01-01T00:00:00Z", "RUN x")
    config = ImageConfig(AMD64, history=(told,))

    lines = history_lines(config, [10, 20])

    assert [(line.entry.created_by, line.size_bytes) for line in lines] == [("", 10), ("RUN x", 20)]


def test_a_tag_moves_to_its_new_image(store: Store) -> None:
    keep(store, "one:1", kind="a")
    two = keep(store, "two:1", kind="b")

    tag_image(store, "two:1", "one:1")

    assert inspect_image(store, "one:1", AMD64)["Id"] == two
    for refused in ("x@sha256:" + "0" * 64, "0" * 64, "a" * 64 + ":1", "X:1", "x:"):
        with pytest.raises(UsageError):
            tag_image(store, "two:1", refused)
    with pytest.raises(NotFound):
        tag_image(store, "none", "x")


def test_an_image_goes_with_its_last_name(store: Store) -> None:
    image_id = keep(store, "one:1", "two:1")

    first = remove_image(store, "one:1")
    last = remove_image(store, "two:1")

    assert (first.deleted, last.deleted) == (None, image_id)
    assert [name.familiar for name in (*first.untagged, *last.untagged)] == ["one:1", "two:1"]
    with pytest.raises(NotFound):
        remove_image(store, image_id)


def test_an_image_of_several_names_is_not_removed_by_its_id(store: Store) -> None:
    image_id = keep(store, "one:1", "two:1")

    with pytest.raises(Conflict):
        remove_image(store, image_id)
    removed = remove_image(store, image_id, is_forced=True)

    assert len(removed.untagged) == 2
    assert removed.deleted == image_id


def test_an_image_in_use_is_not_removed(store: Store) -> None:
    image_id = keep(store, "one:1")
    image = store.images.resolve("one:1")
    assert image is not None
    (Path(store.root) / "containers" / "abc").mkdir(parents=True)
    store.pins.add("container:abc", images=[image.descriptor.digest])

    for name in ("one:1", image_id):
        with pytest.raises(Conflict, match="being used"):
            remove_image(store, name)

    assert list_images(store, AMD64, ImageFilter())[0].containers == 1


def test_pruning_takes_dangling_images_or_all_that_are_unused(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "store")) as store:
        kept = keep(store, kind="kept")
        gone = keep(store, kind="gone")
        keep(store, "named:1", kind="named")
    with Store.open(str(tmp_path / "store")) as store:
        pruned = prune_images(store, AMD64, ImagePrune(labels=("kind=gone",)))

        assert [item.name for item in pruned.items if item.kind == "image"] == [gone]
        assert inspect_image(store, kept, AMD64)["Id"] == kept
    with Store.open(str(tmp_path / "store")) as store:
        prune_images(store, AMD64, ImagePrune(has_names_too=True, forbidden_labels=("kind=kept",)))

        assert [image.image_id for image in list_images(store, AMD64, ImageFilter())] == [kept]


def test_a_dry_run_removes_nothing(store: Store) -> None:
    with pytest.raises(UsageError):
        prune_cache(store, CachePrune(kinds=("nothing",)))

    assert prune_cache(store, CachePrune(), is_dry_run=True).freed_bytes == 0
