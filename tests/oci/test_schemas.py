"""The schemas themselves, and the documents that are made in memory."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.oci import config as configs
from builder.oci import descriptor as descriptors
from builder.oci import json, media
from builder.oci.config import Healthcheck, History, ImageConfig, RunConfig
from builder.oci.descriptor import Descriptor, Index, Manifest
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from tests.oci.schemas import complaints

DIGEST = f"sha256:{'a' * 64}"
GOOD: dict[str, Any] = {"mediaType": media.LAYER, "digest": DIGEST, "size": 1}
words = st.text(st.characters(codec="utf-8"), max_size=8)
lists = st.lists(words, max_size=3).map(tuple)
pairs = st.dictionaries(words, words, max_size=3).map(lambda d: tuple(sorted(d.items())))
digests = st.text("0123456789abcdef", min_size=64, max_size=64).map(lambda t: Digest(f"sha256:{t}"))
platforms = st.builds(
    Platform,
    st.sampled_from(["linux", "windows"]),
    st.sampled_from(["amd64", "arm"]),
    st.sampled_from(["", "v7"]),
    st.sampled_from(["", "10.0"]),
)
times = st.sampled_from([None, "2024-01-02T03:04:05Z", "2024-01-02T03:04:05.678901234+01:00"])
run_configs = st.builds(
    RunConfig,
    user=words,
    exposed_ports=st.sampled_from([(), ("80/tcp", "53/udp")]),
    env=st.lists(words.map(lambda w: f"A={w}"), max_size=2).map(tuple),
    entrypoint=st.none() | lists,
    cmd=st.none() | lists,
    volumes=lists,
    working_dir=words,
    labels=pairs,
    stop_signal=words,
    healthcheck=st.none() | st.builds(Healthcheck, test=lists),
    on_build=lists,
    shell=st.none() | lists,
)
images = st.builds(
    ImageConfig,
    platforms,
    run_configs,
    st.lists(digests, max_size=3).map(tuple),
    st.lists(st.builds(History, times, words, words, words, st.booleans()), max_size=2).map(tuple),
    times,
    words,
)
descriptions = st.builds(
    Descriptor,
    st.sampled_from([media.LAYER_GZIP, media.MANIFEST, "application/vnd.x+json"]),
    digests,
    st.integers(0, 1 << 40),
    st.none() | platforms,
    pairs.map(lambda found: tuple((f"k{key}", value) for key, value in found)),
    st.sampled_from([(), ("https://example.com/layer",)]),
    st.sampled_from(["", "application/vnd.x"]),
)


@given(images)
def test_every_config_is_valid(image: ImageConfig) -> None:
    document = json.loads(configs.to_json(image), what="config")

    assert complaints("config", document) == []


@given(descriptions, st.lists(descriptions, max_size=3).map(tuple), st.none() | descriptions)
def test_every_manifest_and_index_is_valid(
    config: Descriptor, others: tuple[Descriptor, ...], subject: Descriptor | None
) -> None:
    manifest = Manifest(media.MANIFEST, config, others, (("a", "b"),), subject, "application/x.y")
    index = Index(media.INDEX, others, (("a", "b"),), subject, "application/x.y")

    for kind, value in (("manifest", manifest), ("index", index)):
        document = json.loads(descriptors.to_json(value), what=kind)
        assert complaints(kind, document) == []


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("descriptor", {**GOOD, "digest": "sha256:AA"}),
        ("descriptor", {**GOOD, "size": -1}),
        ("descriptor", {**GOOD, "mediaType": "layer"}),
        ("descriptor", {**GOOD, "annotations": {"a": 1}}),
        ("descriptor", {**GOOD, "platform": {"os": "linux"}}),
        ("manifest", {"schemaVersion": 2, "config": GOOD}),
        ("manifest", {"schemaVersion": 1, "config": GOOD, "layers": []}),
        ("manifest", {"schemaVersion": 2, "config": GOOD, "layers": [], "manifests": []}),
        ("index", {"schemaVersion": 2, "manifests": None}),
        ("index", {"schemaVersion": 2, "manifests": [], "layers": []}),
        ("config", {"architecture": "a", "os": "b"}),
        (
            "config",
            {"architecture": "a", "os": "b", "rootfs": {"type": "layers", "diff_ids": None}},
        ),
        ("layout", {"imageLayoutVersion": "2"}),
    ],
)
def test_the_schemas_find_what_is_wrong(kind: str, document: object) -> None:
    assert complaints(kind, document)
