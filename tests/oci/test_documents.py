"""Descriptors, manifests, configs: round trips, and what must be refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import InvalidImage
from builder.oci import config, descriptor, json, media
from builder.oci.config import Healthcheck, History, ImageConfig, RunConfig, chain_id
from builder.oci.descriptor import Descriptor, Index, Manifest, parse_manifest_or_index
from builder.oci.digest import digest_of, key, parse_digest
from builder.oci.platform import Platform

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
digests = st.binary(max_size=8).map(digest_of)
descriptors = st.tuples(digests, st.integers(0, 1 << 40)).map(
    lambda pair: Descriptor(media.LAYER_GZIP, *pair)
)
argvs = st.none() | st.lists(words, min_size=1).map(tuple)
run_configs = st.tuples(words, st.lists(words), argvs, st.dictionaries(words, words), argvs).map(
    lambda parts: RunConfig(
        user=parts[0],
        env=tuple(parts[1]),
        cmd=parts[2],
        labels=tuple(parts[3].items()),
        healthcheck=None if parts[4] is None else Healthcheck(parts[4], interval_ns=1),
    )
)


@given(st.lists(descriptors, max_size=4))
def test_a_manifest_survives_its_json(layers: list[Descriptor]) -> None:
    manifest = Manifest(media.MANIFEST, layers[0], tuple(layers)) if layers else None
    if manifest is None:
        return

    assert parse_manifest_or_index(descriptor.to_json(manifest)) == manifest


@given(run_configs, st.lists(digests, max_size=3))
def test_a_config_survives_its_json(run: RunConfig, diff_ids: list[str]) -> None:
    image = ImageConfig(
        Platform("linux", "arm", "v7"),
        run,
        tuple(parse_digest(d) for d in diff_ids),
        (History("2024-01-01T00:00:00Z", "RUN x", is_empty_layer=True),),
    )

    assert config.parse_config(config.to_json(image)) == image


def test_an_image_of_a_thousand_steps_is_read_and_one_of_too_many_is_not() -> None:
    layer = Descriptor(media.LAYER_GZIP, digest_of(b"layer"), 5)
    manifest = Manifest(media.MANIFEST, Descriptor(media.CONFIG, digest_of(b""), 0), (layer,))
    thousand = manifest._replace(layers=(layer,) * 1_050)
    too_many = manifest._replace(layers=(layer,) * (descriptor.MAX_LAYERS + 1))

    assert parse_manifest_or_index(descriptor.to_json(thousand)) == thousand
    with pytest.raises(InvalidImage, match="layers"):
        parse_manifest_or_index(descriptor.to_json(too_many))


def test_a_document_that_is_both_manifest_and_index_is_refused() -> None:
    content = json.dumps({"schemaVersion": 2, "manifests": [], "layers": []})

    with pytest.raises(InvalidImage, match="also claims"):
        parse_manifest_or_index(content)


def test_a_media_type_that_lies_is_refused() -> None:
    content = descriptor.to_json(Index(media.INDEX, ()))

    with pytest.raises(InvalidImage, match="but came as"):
        parse_manifest_or_index(content, media.MANIFEST)


def test_schema_1_is_refused_by_name() -> None:
    with pytest.raises(InvalidImage, match="schema 1"):
        parse_manifest_or_index(b'{"schemaVersion": 1}')


@pytest.mark.parametrize("size", [-1, 1 << 50, 1.5, "12", None, True])
def test_impossible_sizes_are_refused(size: object) -> None:
    entry = {"mediaType": media.LAYER, "digest": digest_of(b""), "size": size}
    content = json.dumps({"schemaVersion": 2, "config": entry, "layers": []})

    with pytest.raises(InvalidImage):
        parse_manifest_or_index(content, media.MANIFEST)


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:" + "A" * 64, "sha256:" + "a" * 63, "md5:" + "a" * 32,
     "sha256:../../../../etc/passwd", "sha256:" + "a" * 64 + "\n"],
)  # fmt: skip
def test_odd_digests_are_refused(text: str) -> None:
    with pytest.raises(InvalidImage):
        parse_digest(text)


@pytest.mark.parametrize(
    "content",
    [b"[" * 200_000, b'{"a":' * 5_000, b'{"a": NaN}', b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00",
     b'{"a": ' + b"9" * 100_000 + b"}", b"", b"[]"],
)  # fmt: skip
def test_hostile_json_is_refused_quickly(content: bytes) -> None:
    with pytest.raises(InvalidImage):
        json.load_object(content, what="it")


def test_chain_ids_follow_the_specification() -> None:
    one, two = digest_of(b"1"), digest_of(b"2")

    assert chain_id([]) is None
    assert chain_id([one]) == one
    assert chain_id([one, two]) == digest_of(f"{one} {two}".encode())


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_keys_differ_where_their_fields_do(left: list[str], right: list[str]) -> None:
    assert (key("t/1", *left) == key("t/1", *right)) == (left == right)
