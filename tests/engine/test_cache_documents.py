"""Documents of caches: what they say, and that hostile ones are refused in words."""

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.engine import cache_document, foreign_cache, inline_cache
from builder.engine.cache_document import CachedLayer, CacheDocument, CarriedRecord
from builder.errors import InvalidImage
from builder.oci import media
from builder.oci.config import INLINE_CACHE, History, ImageConfig, to_json
from builder.oci.descriptor import MAX_LAYERS, Descriptor, Manifest
from builder.oci.digest import key
from builder.oci.layer import Layer
from builder.oci.platform import Platform

BUILDKIT_RECORDS = (
    b'[{"digest":"sha256:00b3525dfd2a93899fdfa1d482df9f7a38aa94632a1520156dc247bb031bc164",'
    b'"inputs":[[{"link":3}],[{"link":5}]]},{"layers":[{"layer":1,'
    b'"createdAt":"2026-11-24T12:39:21.004951867Z"}],"digest":'
    b'"sha256:6cd536d720c175debdaa132859d60e7bb974a1d59e73c1ff0b521b142a125842","inputs":'
    b'[[{"link":3}],[{"selector":'
    b'"sha256:9812b0b9d61e09b927d03ff93f64530d8fcf373810b7007129eb4b20962412cb","link":2},'
    b'{"link":5}]]},{"digest":'
    b'"sha256:aa4688e4ff859fd44b094d4ed495f40651afb4b0c5549229d6defe0ca9e4d294",'
    b'"inputs":[[{"link":0}]]},{"digest":'
    b'"sha256:b22ba3dd29c20974c524ec6e43574cb6e82acb14ea8cdcf1bdcee807d2ac2aae"},{"layers":'
    b'[{"layer":2,"createdAt":"2026-11-24T12:39:21.110110903Z"}],"digest":'
    b'"sha256:bfb59dd3bbbbc2547394cfbf468c0e601dab5d9c09161807ede84ea5d43675be","inputs":'
    b'[[{"link":1}]]},{"digest":'
    b'"sha256:f2b80a3038eeef7649364c2d92ff6cf83c5fe95a450f76224b701005e80ce345"}]'
)
"""What BuildKit wrote into an image of three layers."""

BLOB = key("blob")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 70) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("layers", "records", "parent", "blob", "digest", "inputs", "link", "layer"),
                    *("chains", "version", "fast", "slow", "name", "diffID", "created", "size"),
                )
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


def descriptor(name: str) -> Descriptor:
    return Descriptor(media.LAYER_GZIP, key(name), 10)


def document(**changes: Any) -> dict[str, Any]:
    layers = (CachedLayer(Layer(key("diff"), descriptor("a")), 1_000_000_000),)
    record = CarriedRecord(key("fast"), key("slow"), "RUN x", (0,))
    value: dict[str, Any] = json.loads(cache_document.to_json(CacheDocument(layers, (record,))))
    return {**value, **changes}


def record(**changes: Any) -> dict[str, Any]:
    return {**document()["records"][0], **changes}


def layer(**changes: Any) -> dict[str, Any]:
    return {**document()["layers"][0], **changes}


@pytest.mark.parametrize(
    "broken",
    [
        document(version=2),
        document(version="1"),
        document(layers=None),
        document(layers=[1]),
        document(records={}),
        document(records=[record(layers=[1])]),
        document(records=[record(layers=[-1])]),
        document(records=[record(layers=[True])]),
        document(records=[record(layers=[])]),
        document(records=[record(layers=[0] * (MAX_LAYERS + 1))]),
        document(records=[record(fast="sha256:../../etc/passwd")]),
        document(records=[record(slow=3)]),
        document(layers=[layer(created=-1)]),
        document(layers=[layer(created=1 << 60)]),
        document(layers=[layer(created=None)]),
        document(layers=[layer(size=-1)]),
        document(layers=[layer(diffID="../x")]),
        document(layers=[layer(mediaType="text/plain")]),
    ],
)
def test_a_document_that_says_what_cannot_be_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidImage):
        cache_document.parse(json.dumps(broken).encode())


def test_names_of_steps_cannot_steer_a_terminal() -> None:
    hostile = document(records=[record(name="\x1b[2J\ud800" + "x" * 5000)])

    found = cache_document.parse(json.dumps(hostile).encode())

    name = found.records[0].name
    assert name.startswith("\\x1b[2J\\ud800xxx")
    assert len(name) < 1100


def test_documents_of_several_platforms_become_one() -> None:
    one = cache_document.parse(json.dumps(document()).encode())
    other = one._replace(records=(one.records[0]._replace(fast=key("other")),))

    joined = cache_document.joined([one, other])

    assert [record.layers for record in joined.records] == [(0,), (1,)]
    assert joined.layers == (*one.layers, *other.layers)


def image(cache: bytes, *, layers: int = 3) -> tuple[Manifest, bytes]:
    history = tuple(History(f"2001-09-09T01:46:4{n}Z") for n in range(3))
    config = ImageConfig(
        Platform("linux", "amd64"),
        diff_ids=tuple(key(f"diff {n}") for n in range(3)),
        history=(history[0], History(is_empty_layer=True), *history[1:]),
        cache=cache,
    )
    blobs = tuple(descriptor(f"blob {n}") for n in range(layers))
    return Manifest(media.MANIFEST, Descriptor(media.CONFIG, key("c"), 1), blobs), to_json(config)


def test_an_images_cache_comes_back_with_the_images_layers() -> None:
    records = (
        CarriedRecord(key("fast"), key("slow"), "RUN x", (0, 1)),
        CarriedRecord(key("f2"), key("s2"), "RUN y", (0, 1, 2)),
    )
    manifest, content = image(inline_cache.to_json(records))

    found = inline_cache.parse_image(manifest, content)

    assert found is not None
    assert found.records == records
    assert [one.layer.descriptor for one in found.layers] == list(manifest.layers)
    assert [one.layer.diff_id for one in found.layers] == [key(f"diff {n}") for n in range(3)]
    assert [one.created_s for one in found.layers] == [1_000_000_000 + n for n in range(3)]


def test_an_image_without_cache_has_none() -> None:
    assert inline_cache.parse_image(*image(b"")) is None


@pytest.mark.parametrize(
    "cache",
    [
        b"x",
        b"[]",
        b'{"version":2,"records":[]}',
        b'{"version":1,"records":[{"fast":"x","slow":"y","layers":1}]}',
        b'{"version":1,"records":[{"layers":4}]}',
        b'{"version":1,"records":[{"layers":0}]}',
        b'{"version":1,"records":' + b"[" * 200 + b"]" * 200 + b"}",
    ],
)
def test_an_images_cache_that_says_what_cannot_be_is_refused(cache: bytes) -> None:
    with pytest.raises(InvalidImage):
        inline_cache.parse_image(*image(cache))


def test_an_images_cache_must_be_base64_and_the_layers_as_many_as_the_config_says() -> None:
    manifest, content = image(b"")
    value = json.loads(content) | {INLINE_CACHE: "*"}

    with pytest.raises(InvalidImage, match="base64"):
        inline_cache.parse_image(manifest, json.dumps(value).encode())
    with pytest.raises(InvalidImage, match="layers"):
        inline_cache.parse_image(*image(b"{}", layers=2))


def test_what_buildkit_writes_into_an_image_is_read() -> None:
    found = foreign_cache.parse_foreign_records(BUILDKIT_RECORDS, 3)

    assert found.records == 6
    assert "made by another builder (6 records)" in str(found)


def test_what_buildkit_writes_beside_an_image_is_read() -> None:
    layers = [{"blob": BLOB, "parent": -1}, {"blob": key("other")}]
    value = {"layers": layers, "records": json.loads(BUILDKIT_RECORDS.replace(b":2,", b":0,"))}

    found = foreign_cache.parse_foreign(json.dumps(value).encode())

    assert found == foreign_cache.ForeignCache(6, (BLOB, key("other")))


@pytest.mark.parametrize(
    "broken",
    [
        {"layers": [{"blob": BLOB, "parent": 0}]},
        {"layers": [{"blob": BLOB, "parent": 1}, {"blob": BLOB, "parent": 0}]},
        {"layers": [{"blob": BLOB, "parent": 7}]},
        {"layers": [{"blob": "../../x", "parent": -1}]},
        {"records": [{"inputs": [[{"link": 0}]]}]},
        {"records": [{"inputs": [[{"link": 1}]]}, {"inputs": [[{"link": 0}]]}]},
        {"records": [{"inputs": [[{"link": 2}]]}]},
        {"records": [{"inputs": [{"link": 0}]}]},
        {"records": [{"layers": [{"layer": 0}]}]},
        {"records": [{"chains": [{"layers": [0]}]}]},
        {"records": [{"chains": [{"layers": "x"}]}]},
        {"records": [{"digest": 3}]},
        {"records": 3},
    ],
)
def test_anothers_cache_that_says_what_cannot_be_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidImage):
        foreign_cache.parse_foreign(json.dumps(broken).encode())


@pytest.mark.parametrize(
    "parse",
    [
        cache_document.parse,
        foreign_cache.parse_foreign,
        lambda content: foreign_cache.parse_foreign_records(content, 2),
        lambda content: inline_cache.parse_image(*image(content)),
    ],
)
@settings(deadline=None)
@given(value=json_values)
def test_any_json_is_a_document_or_an_error_in_words(
    parse: Callable[[bytes], object], value: Any
) -> None:
    with suppress(InvalidImage):
        parse(json.dumps(value).encode())


def test_the_cache_is_written_where_other_readers_skip_it() -> None:
    _manifest, content = image(b"cache")

    assert base64.b64decode(json.loads(content)[INLINE_CACHE]) == b"cache"
    assert INLINE_CACHE not in json.loads(content)["config"]
