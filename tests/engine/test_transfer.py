import bz2
import gzip
import json
import lzma
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from builder.engine.catalog import inspect_image
from builder.engine.transfer import Import, Loaded, import_, load, save
from builder.errors import InvalidImage, NotFound, UsageError
from builder.oci.config import RunConfig
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.store.store import Store
from tests.engine.archives import Layout, Member, config_of, docker_archive, layer, sha, tar_of

AMD64 = Platform("linux", "amd64")
ONE = layer(one=b"1" * 5000)
TWO = layer(two=os.urandom(200_000))

needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store")) as opened:
        yield opened


def load_bytes(store: Store, archive: bytes, **options: Any) -> list[Loaded]:
    """Load from a pipe, as `load` does from standard input."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            view = memoryview(archive)
            while view:
                view = view[os.write(writing, view) :]
        finally:
            os._exit(0)
    os.close(writing)
    try:
        return load(store, reading, AMD64, **options)
    finally:
        os.close(reading)
        os.waitpid(child, 0)


def kept(store: Store) -> list[str]:
    """List what a store holds: blobs, ingests, names."""
    blobs = [digest for digest, _ in store.content.walk()]
    return [*blobs, *os.listdir(store.path("ingest")), *(str(i) for i in store.images.list())]


def names_of(loaded: Sequence[Loaded]) -> list[list[str]]:
    return [[name.familiar for name in image.names] for image in loaded]


def diff_ids(store: Store, name: str) -> list[str]:
    root_fs = inspect_image(store, name, AMD64)["RootFS"]
    assert isinstance(root_fs, dict)
    return list(root_fs["Layers"])


def test_a_docker_archive_is_loaded_under_its_names(store: Store) -> None:
    config = config_of([ONE, TWO])

    loaded = load_bytes(store, docker_archive([ONE, TWO], tags=["a:1", "b:2"], config=config))

    assert names_of(loaded) == [["a:1", "b:2"]]
    assert loaded[0].image_id == f"sha256:{sha(config)}"
    assert diff_ids(store, "a:1") == [f"sha256:{sha(ONE)}", f"sha256:{sha(TWO)}"]


def test_an_oci_archive_is_loaded_under_its_names(store: Store) -> None:
    layout = Layout()
    image = layout.manifest([ONE, TWO])
    layout.name(image, "docker.io/library/a:1")
    layout.name(image, "example.org/b:2")

    loaded = load_bytes(store, layout.archive())

    assert names_of(loaded) == [["a:1", "example.org/b:2"]]
    assert loaded[0].descriptor.digest == image["digest"]
    assert diff_ids(store, "a:1") == [f"sha256:{sha(ONE)}", f"sha256:{sha(TWO)}"]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress, "zstd"])
def test_an_archive_may_be_compressed(store: Store, compress: Any) -> None:
    archive = docker_archive([ONE])
    if compress == "zstd":
        pyzstd = pytest.importorskip("pyzstd")
        compress = pyzstd.compress

    loaded = load_bytes(store, compress(archive))

    assert names_of(loaded) == [["example:1"]]


def test_a_layout_directory_is_loaded(store: Store, tmp_path: Path) -> None:
    layout = Layout()
    layout.name(layout.manifest([ONE, TWO]), "a:1")
    for name, content in layout.members():
        path = tmp_path / "layout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert isinstance(content, bytes)
        path.write_bytes(content)

    loaded = load(store, str(tmp_path / "layout"), AMD64)

    assert names_of(loaded) == [["a:1"]]


def test_a_file_is_loaded_by_its_path(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(docker_archive([TWO]))

    assert names_of(load(store, str(tmp_path / "a.tar"), AMD64)) == [["example:1"]]
    with pytest.raises(NotFound):
        load(store, str(tmp_path / "none.tar"), AMD64)


def test_repeated_layers_may_be_links_to_other_members(store: Store) -> None:
    config = config_of([ONE, ONE, ONE])
    members: list[Member] = [
        ("a/layer.tar", ONE),
        ("b/layer.tar", "../a/layer.tar"),
        ("c.json", config),
        (
            "manifest.json",
            json.dumps(
                [
                    {
                        "Config": "c.json",
                        "RepoTags": ["x:1"],
                        "Layers": ["a/layer.tar", "b/layer.tar", "c/layer.tar"],
                    }
                ]
            ).encode(),
        ),
    ]

    load_bytes(store, tar_of(members, hardlinks={"c/layer.tar": "a/layer.tar"}))

    assert diff_ids(store, "x:1") == [f"sha256:{sha(ONE)}"] * 3


def test_compressed_layers_of_a_docker_archive_stay_compressed(store: Store) -> None:
    packed = gzip.compress(ONE, mtime=0)
    archive = docker_archive([packed], config=config_of([ONE]))

    load_bytes(store, archive)

    assert store.content.size(parse_digest(packed)) == len(packed)


def parse_digest(content: bytes) -> Any:
    return f"sha256:{sha(content)}"


def test_an_index_stands_for_the_hosts_platform_and_keeps_the_others(store: Store) -> None:
    layout = Layout()
    arm = layout.manifest([TWO], architecture="arm64")
    amd = layout.manifest([ONE])
    layout.name(layout.index([arm, amd]), "a:1")

    loaded = load_bytes(store, layout.archive())

    assert diff_ids(store, "a:1") == [f"sha256:{sha(ONE)}"]
    assert store.content.has(arm["digest"])
    assert loaded[0].descriptor.media_type.endswith("index.v1+json")


def test_an_index_may_name_platforms_that_are_not_there(store: Store) -> None:
    layout = Layout()
    absent = Layout().manifest([TWO], architecture="arm64")
    layout.name(layout.index([absent, layout.manifest([ONE])]), "a:1")

    load_bytes(store, layout.archive())

    assert diff_ids(store, "a:1") == [f"sha256:{sha(ONE)}"]


def test_a_tag_is_added_to_the_only_image(store: Store) -> None:
    loaded = load_bytes(store, docker_archive([ONE]), tags=[parse_reference("more:2")])

    assert names_of(loaded) == [["example:1", "more:2"]]


def test_a_tag_is_refused_for_several_images(store: Store) -> None:
    layout = Layout()
    layout.name(layout.manifest([ONE]), "a:1")
    layout.name(layout.manifest([TWO]), "b:1")

    with pytest.raises(UsageError):
        load_bytes(store, layout.archive(), tags=[parse_reference("c:1")])

    assert kept(store) == []


def test_an_image_without_names_is_loaded(store: Store) -> None:
    loaded = load_bytes(store, docker_archive([ONE], tags=None))

    assert names_of(loaded) == [[]]
    assert store.images.resolve(loaded[0].image_id) is not None


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "none", ""])
@pytest.mark.parametrize("field", ["Config", "Layers"])
def test_names_are_looked_up_among_the_members_only(store: Store, field: str, path: str) -> None:
    config = config_of([ONE])
    entry = {"Config": f"{sha(config)}.json", "RepoTags": [], "Layers": [f"{sha(ONE)}/layer.tar"]}
    entry[field] = path if field == "Config" else [path]

    with pytest.raises(InvalidImage):
        load_bytes(store, docker_archive([ONE], manifest=[entry]))

    assert kept(store) == []


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "layer.tar"])
def test_links_lead_to_members_only(store: Store, target: str) -> None:
    config = config_of([ONE])
    listed = [{"Config": "c.json", "RepoTags": [], "Layers": ["a/layer.tar"]}]
    members: list[Member] = [
        ("a/layer.tar", target),
        ("c.json", config),
        ("manifest.json", json.dumps(listed).encode()),
    ]

    with pytest.raises(InvalidImage):
        load_bytes(store, tar_of(members))


BAD_DIGESTS = [
    "sha256:../../../../etc/passwd",
    "sha256:" + "A" * 64,
    "sha256:" + "0" * 63,
    "../x:" + "0" * 64,
    "md5:" + "0" * 32,
    "",
    "sha512:" + "0" * 64,
]


@pytest.mark.parametrize("digest", BAD_DIGESTS)
@pytest.mark.parametrize("where", ["index", "config", "layer"])
def test_malformed_digests_are_refused(store: Store, digest: str, where: str) -> None:
    layout = Layout()
    image = layout.manifest([ONE])
    if where == "index":
        image = {**image, "digest": digest}
    else:
        value = json.loads(layout.blobs[image["digest"].partition(":")[2]])
        (value["config"] if where == "config" else value["layers"][0])["digest"] = digest
        image = layout.document(value, "manifest")
    layout.name(image, "a:1")

    with pytest.raises(InvalidImage):
        load_bytes(store, layout.archive())

    assert kept(store) == []


def test_a_layer_that_is_not_its_diff_id_is_refused(store: Store) -> None:
    with pytest.raises(InvalidImage, match="diff ID"):
        load_bytes(store, docker_archive([TWO], config=config_of([ONE])))

    assert kept(store) == []


@pytest.mark.parametrize("content", [b"hello", os.urandom(8192), TWO[:-9000], b"\xff" * 1024])
def test_a_layer_that_is_no_archive_is_refused(store: Store, content: bytes) -> None:
    for bad in (content, gzip.compress(content)):
        with pytest.raises(InvalidImage):
            load_bytes(store, docker_archive([bad], config=config_of([content])))

    assert kept(store) == []


@pytest.mark.parametrize("change", ["bytes", "size", "absent", "type", "count"])
def test_a_wrong_blob_is_refused(store: Store, change: str) -> None:
    layout = Layout()
    image = layout.manifest([ONE])
    value = json.loads(layout.blobs[image["digest"].partition(":")[2]])
    described = value["layers"][0]
    blob = described["digest"].partition(":")[2]
    if change == "bytes":
        layout.blobs[blob] = gzip.compress(layer(evil=b"1" * 5000), mtime=0)
    elif change == "size":
        described["size"] += 1
    elif change == "absent":
        del layout.blobs[blob]
    elif change == "type":
        described["mediaType"] = described["mediaType"].removesuffix("+gzip")
    else:
        value["layers"] = []
    layout.name(layout.document(value, "manifest"), "a:1")

    with pytest.raises(InvalidImage):
        load_bytes(store, layout.archive())

    assert kept(store) == []


def test_a_document_that_is_manifest_and_index_is_refused(store: Store) -> None:
    layout = Layout()
    value = json.loads(layout.blobs[layout.manifest([ONE])["digest"].partition(":")[2]])
    layout.name(layout.document({**value, "manifests": []}, "manifest"), "a:1")

    with pytest.raises(InvalidImage):
        load_bytes(store, layout.archive())


@pytest.mark.parametrize(
    "name", ["../..", "-rf", "a\nb", "\x1b[2J", "UPPER", "x" * 5000, "a:" + "t" * 200, "/", ""]
)
def test_malformed_names_are_refused_and_never_shown_raw(store: Store, name: str) -> None:
    with pytest.raises(InvalidImage) as caught:
        load_bytes(store, docker_archive([ONE], tags=[name]))

    assert "\x1b" not in caught.value.what
    assert "\n" not in caught.value.what
    assert kept(store) == []


TORTURE = [
    b"[" * 200_000,
    b'{"a":' * 50_000,
    b"9" * 100_000,
    b"NaN",
    b"\xef\xbb\xbf[]",
    "[]".encode("utf-16"),
    b'"\\ud800"',
    b"{}",
    b"[1]",
    b"[]",
    b"null",
    b"",
    b'[{"Config":5,"RepoTags":"x","Layers":{}}]',
    b'[{"Config":"c","RepoTags":[1],"Layers":[]}]',
]


@pytest.mark.parametrize("document", TORTURE)
@pytest.mark.parametrize("name", ["manifest.json", "index.json", "config"])
def test_tortured_json_is_refused(store: Store, name: str, document: bytes) -> None:
    if name == "config":
        archive = docker_archive([ONE], config=document)
    else:
        archive = tar_of([(name, document)])

    with pytest.raises(InvalidImage):
        load_bytes(store, archive)

    assert kept(store) == []


@pytest.mark.parametrize("archive", [b"", b"hello", bytes(1024), os.urandom(4096), tar_of([])])
def test_what_is_no_archive_is_refused(store: Store, archive: bytes) -> None:
    with pytest.raises(InvalidImage):
        load_bytes(store, archive)


def test_a_truncated_archive_is_refused_wherever_it_ends(store: Store) -> None:
    archive = docker_archive([ONE, TWO])
    generator = random.Random(1)

    for _ in range(20):
        with pytest.raises(InvalidImage):
            load_bytes(store, archive[: generator.randrange(len(archive) - 12_000)])

    assert kept(store) == []


def test_a_flipped_byte_is_refused_or_harmless(store: Store) -> None:
    archive = bytearray(docker_archive([ONE]))
    generator = random.Random(2)

    for _ in range(60):
        position = generator.randrange(len(archive))
        archive[position] ^= 0x55
        try:
            loaded = load_bytes(store, bytes(archive))
        except InvalidImage:
            pass
        else:
            (image,) = loaded
            assert diff_ids(store, image.image_id) == [f"sha256:{sha(ONE)}"]
        archive[position] ^= 0x55


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive", "docker-dir", "oci-dir"])
def test_what_is_saved_loads_as_the_same_image(store: Store, tmp_path: Path, form: Any) -> None:
    load_bytes(store, docker_archive([ONE, TWO], tags=["a:1", "b:1"]))
    dest = str(tmp_path / "saved")

    save(store, ["a:1", "b:1"], AMD64, dest=dest, format=form)

    with Store.open(str(tmp_path / "other")) as other:
        loaded = load(other, dest, AMD64)
        assert names_of(loaded) == [["a:1", "b:1"]]
        assert loaded[0].image_id == inspect_image(store, "a:1", AMD64)["Id"]
        assert diff_ids(other, "b:1") == diff_ids(store, "a:1")


def test_images_saved_by_id_have_no_name(store: Store, tmp_path: Path) -> None:
    (image,) = load_bytes(store, docker_archive([ONE]))

    save(store, [image.image_id[7:19]], AMD64, dest=str(tmp_path / "a.tar"))

    with tarfile.open(tmp_path / "a.tar") as tar:
        listed = tar.extractfile("manifest.json")
        assert listed is not None
        assert json.load(listed)[0]["RepoTags"] is None


def test_saving_what_is_not_there_leaves_no_file(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        save(store, ["none:1"], AMD64, dest=str(tmp_path / "a.tar"))

    assert os.listdir(tmp_path) == ["store"]


@needs_skopeo
def test_skopeo_copies_a_saved_archive_and_we_load_its_copy(store: Store, tmp_path: Path) -> None:
    (image,) = load_bytes(store, docker_archive([ONE, TWO]))
    save(store, ["example:1"], AMD64, dest=str(tmp_path / "a.tar"))

    for kind in ("docker-archive", "oci-archive"):
        copy = tmp_path / f"{kind}.tar"
        subprocess.run(
            ["skopeo", "copy", "--insecure-policy", f"docker-archive:{tmp_path / 'a.tar'}",
             f"{kind}:{copy}:example:2"],
            capture_output=True,
            check=True,
        )  # fmt: skip
        (loaded,) = load(store, str(copy), AMD64)
        assert names_of([loaded]) == [["example:2"]]
        assert diff_ids(store, "example:2") == diff_ids(store, image.image_id)


def test_a_root_file_system_is_imported_as_one_layer(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "root.tar.xz"
    path.write_bytes(lzma.compress(layer(hello=b"world")))
    request = Import(
        AMD64,
        RunConfig(cmd=("hello",)),
        "2020-01-01T00:00:00Z",
        "by hand",
        parse_reference("imported"),
    )

    with path.open("rb") as source:
        image = import_(store, source.fileno(), request)

    shown = inspect_image(store, "imported", AMD64)
    assert shown["Id"] == image.image_id
    assert shown["Comment"] == "by hand"
    assert diff_ids(store, "imported") == [f"sha256:{sha(layer(hello=b'world'))}"]


@pytest.mark.parametrize("content", [b"", b"junk" * 1000, bytes(1024)])
def test_what_is_no_root_file_system_is_not_imported(
    store: Store, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "junk").write_bytes(content)
    request = Import(AMD64, RunConfig(), "2020-01-01T00:00:00Z")

    with (tmp_path / "junk").open("rb") as source, pytest.raises(InvalidImage):
        import_(store, source.fileno(), request)

    assert kept(store) == []


def test_memory_stays_flat_over_a_layer_that_unpacks_a_thousandfold(store: Store) -> None:
    import resource

    big = BytesIO()
    with tarfile.open(fileobj=big, mode="w") as tar:
        info = tarfile.TarInfo("zeros")
        info.size = 64 << 20
        tar.addfile(info, BytesIO(bytes(64 << 20)))
    plain = big.getvalue()
    archive = docker_archive([gzip.compress(plain, 9)], config=config_of([plain]))
    del big, plain
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    load_bytes(store, archive)

    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 32 << 10
