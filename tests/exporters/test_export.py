import gzip
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from builder.errors import Conflict, NotFound, StoreError
from builder.exporters.export import export
from builder.exporters.output import Output, parse_output
from builder.exporters.result import ImageResult
from builder.oci import media
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest, digest_of
from builder.oci.layer import Layer
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.store.snapshotter import Snapshot
from builder.store.store import Store
from tests.exporters.images import image_of, layer_tar

ARM64 = Platform("linux", "arm64")
EPOCH_S = 1_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(str(tmp_path / "store")) as opened:
        yield opened


def stored_layer(store: Store, plain: bytes) -> Layer:
    packed = gzip.compress(plain, mtime=0)
    store.content.put(packed)
    return Layer(digest_of(plain), Descriptor(media.LAYER_GZIP, digest_of(packed), len(packed)))


def image(store: Store, *contents: bytes) -> ImageResult:
    return image_of(*(stored_layer(store, layer_tar(f=content)) for content in contents))


@pytest.fixture
def snapshot(store: Store) -> Snapshot:
    """Make a root with one of each kind of file."""
    active = store.snapshots.prepare_diff(None)
    root = Path(active.upper)
    (root / "d").mkdir(mode=0o750)
    (root / "d/file").write_bytes(b"content")
    (root / "d/file").chmod(0o640)
    os.link(root / "d/file", root / "d/link")
    (root / "l").symlink_to("/etc/passwd")
    os.mkfifo(root / "p")
    for path in ("d/file", "d", "p", "l"):
        os.utime(root / path, (2_000_000_000, 2_000_000_000), follow_symlinks=False)
    return store.snapshots.commit(active)


def blobs_in(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {
            member.name: extracted.read()
            for member in tar.getmembers()
            if (extracted := tar.extractfile(member)) is not None
        }


def manifest_in(path: Path) -> dict[str, Any]:
    blobs = blobs_in(path)
    (entry,) = json.loads(blobs["index.json"])["manifests"]
    found: dict[str, Any] = json.loads(blobs[blob_name(entry["digest"])])
    return found


def blob_name(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


def test_an_image_is_kept_under_its_names(store: Store) -> None:
    names = (parse_reference("a:1"), parse_reference("b:2"))

    exported = export(Output("image", names=names), [image(store, b"1")], store)

    kept = store.images.resolve("a:1")
    assert kept is not None
    assert exported.descriptor is not None
    assert kept.names == names
    assert kept.descriptor.digest == exported.descriptor.digest
    assert kept.image_id == exported.config_digest


def test_an_image_without_names_is_kept(store: Store) -> None:
    exported = export(Output("image"), [image(store, b"1")], store)

    assert exported.config_digest is not None
    assert store.images.resolve(exported.config_digest) is not None


def test_an_archive_holds_the_same_image_as_the_store(store: Store, tmp_path: Path) -> None:
    results = [image(store, b"1", b"2")]
    kept = export(Output("image"), results, store)

    archived = export(Output("oci", str(tmp_path / "a.tar")), results, store)

    assert (kept.descriptor, kept.config_digest) == (archived.descriptor, archived.config_digest)
    assert len(blobs_in(tmp_path / "a.tar")) == 2 + 2 + 2


@pytest.mark.parametrize("kind", ["oci", "docker", "tar"])
def test_a_failed_export_leaves_what_was_there(store: Store, tmp_path: Path, kind: str) -> None:
    dest = tmp_path / "out" / "a.tar"
    dest.parent.mkdir()
    dest.write_bytes(b"older")
    missing = Layer(digest_of(b""), Descriptor(media.LAYER_GZIP, digest_of(b"gone"), 4))
    output = parse_output(f"type={kind},dest={dest}")
    broken = Snapshot(1, None, str(tmp_path / "gone"), 1, 1)

    with pytest.raises((NotFound, StoreError, OSError)):
        export(output, [image_of(missing)._replace(snapshot=broken)], store)

    assert dest.read_bytes() == b"older"
    assert os.listdir(dest.parent) == ["a.tar"]


def test_a_folder_is_no_place_for_an_archive(store: Store, tmp_path: Path) -> None:
    with pytest.raises(Conflict):
        export(Output("oci", str(tmp_path)), [image(store, b"1")], store)
    with pytest.raises(NotFound):
        export(Output("oci", str(tmp_path / "none/a.tar")), [image(store, b"1")], store)


def test_a_link_at_the_destination_stays_one(store: Store, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real.tar")

    export(Output("oci", str(tmp_path / "link")), [image(store, b"1")], store)

    assert (tmp_path / "link").is_symlink()
    assert "index.json" in blobs_in(tmp_path / "real.tar")


def test_layers_keep_their_compression_unless_it_is_forced(store: Store, tmp_path: Path) -> None:
    results = [image(store, b"1")]

    for options, expected in (("", "+gzip"), (",force-compression=true", "+zstd")):
        output = parse_output(f"type=oci,dest={tmp_path / 'a.tar'},compression=zstd{options}")
        for _ in range(2):
            export(output, results, store)
            (layer,) = manifest_in(tmp_path / "a.tar")["layers"]
            assert layer["mediaType"].endswith(expected)


def test_docker_archives_have_dockers_media_types(store: Store, tmp_path: Path) -> None:
    export(parse_output(f"type=docker,dest={tmp_path / 'a.tar'}"), [image(store, b"1")], store)

    manifest = manifest_in(tmp_path / "a.tar")
    assert manifest["mediaType"] == media.DOCKER_MANIFEST
    assert manifest["layers"][0]["mediaType"] == media.DOCKER_LAYER_GZIP


def test_annotations_reach_their_documents(store: Store, tmp_path: Path) -> None:
    output = parse_output(
        f"type=oci,dest={tmp_path / 'a.tar'},annotation.m=1,annotation-manifest-descriptor.d=2"
    )

    export(output, [image(store, b"1")], store)

    (entry,) = json.loads(blobs_in(tmp_path / "a.tar")["index.json"])["manifests"]
    assert manifest_in(tmp_path / "a.tar")["annotations"] == {"m": "1"}
    assert entry["annotations"]["d"] == "2"
    assert entry["annotations"]["org.opencontainers.image.created"] == "2020-01-01T00:00:00Z"


def test_several_platforms_make_an_index(store: Store, tmp_path: Path) -> None:
    one = image(store, b"1")
    two = image_of(*one.layers, platform=ARM64)

    exported = export(Output("oci", str(tmp_path / "a.tar")), [one, two], store)

    assert exported.descriptor is not None
    index = json.loads(blobs_in(tmp_path / "a.tar")[blob_name(exported.descriptor.digest)])
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == [
        "amd64",
        "arm64",
    ]


def test_times_are_clamped_above_the_base(store: Store, tmp_path: Path) -> None:
    result = image(store, b"base", b"own")._replace(base_layers=1)
    output = parse_output(f"type=oci,dest={tmp_path / 'a.tar'},rewrite-timestamp=true")

    exported = export(output, [result], store, epoch_s=EPOCH_S)

    blobs = blobs_in(tmp_path / "a.tar")
    config = json.loads(blobs[blob_name(str(exported.config_digest))])
    times = []
    for layer, diff_id in zip(
        manifest_in(tmp_path / "a.tar")["layers"],
        config["rootfs"]["diff_ids"],
        strict=True,
    ):
        plain = gzip.decompress(blobs[blob_name(layer["digest"])])
        assert digest_of(plain) == diff_id
        with tarfile.open(fileobj=BytesIO(plain)) as tar:
            times.append({member.mtime for member in tar.getmembers()})
    assert times == [{1_600_000_000}, {EPOCH_S}]


def test_a_root_becomes_a_plain_archive(store: Store, snapshot: Snapshot, tmp_path: Path) -> None:
    result = image_of()._replace(snapshot=snapshot)

    export(Output("tar", str(tmp_path / "a.tar")), [result], store)

    with tarfile.open(tmp_path / "a.tar") as tar:
        found = {member.name: member for member in tar.getmembers()}
    assert list(found) == ["d", "d/file", "d/link", "l", "p"]
    assert found["d/file"].mode == 0o640
    assert (found["d/link"].type, found["d/link"].linkname) == (tarfile.LNKTYPE, "d/file")
    assert found["l"].linkname == "/etc/passwd"
    assert found["d"].mtime == 2_000_000_000


def test_roots_of_several_platforms_get_folders_in_an_archive(
    store: Store, snapshot: Snapshot, tmp_path: Path
) -> None:
    one = image_of()._replace(snapshot=snapshot)
    two = image_of(platform=ARM64)._replace(snapshot=snapshot)
    output = parse_output(f"type=tar,dest={tmp_path / 'a.tar'},rewrite-timestamp=true")

    export(output, [one, two], store, epoch_s=EPOCH_S)

    with tarfile.open(tmp_path / "a.tar") as tar:
        names = tar.getnames()
        link = tar.getmember("linux_arm64/d/link")
        assert tar.getmember("linux_amd64/d").mtime == EPOCH_S
    assert "linux_amd64/d/file" in names
    assert link.linkname == "linux_arm64/d/file"


def test_a_root_becomes_files(store: Store, snapshot: Snapshot, tmp_path: Path) -> None:
    dest = tmp_path / "out"

    for _ in range(2):
        export(Output("local", str(dest)), [image_of()._replace(snapshot=snapshot)], store)

    assert sorted(str(path.relative_to(dest)) for path in dest.rglob("*")) == [
        "d", "d/file", "d/link", "l", "p",
    ]  # fmt: skip
    assert (dest / "d/file").read_bytes() == b"content"
    assert stat.S_IMODE((dest / "d/file").stat().st_mode) == 0o640
    assert stat.S_IMODE((dest / "d").stat().st_mode) == 0o750
    assert (dest / "d").stat().st_mtime == 2_000_000_000
    assert os.readlink(dest / "l") == "/etc/passwd"
    assert stat.S_ISFIFO((dest / "p").stat().st_mode)


def test_files_are_never_written_through_links(
    store: Store, snapshot: Snapshot, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"untouched")
    dest = tmp_path / "out"
    dest.mkdir()
    (dest / "d").symlink_to(outside)
    (dest / "p").symlink_to(outside / "victim")
    (dest / "l").mkdir()
    (dest / "other").write_bytes(b"stays")

    export(Output("local", str(dest)), [image_of()._replace(snapshot=snapshot)], store)

    assert os.listdir(outside) == ["victim"]
    assert (outside / "victim").read_bytes() == b"untouched"
    assert (dest / "d/file").read_bytes() == b"content"
    assert (dest / "other").read_bytes() == b"stays"


def test_a_mirror_removes_what_the_image_lacks(
    store: Store, snapshot: Snapshot, tmp_path: Path
) -> None:
    dest = tmp_path / "out"
    (dest / "d/deep").mkdir(parents=True)
    (dest / "d/deep/old").write_bytes(b"")
    (dest / "old").write_bytes(b"")

    export(
        Output("local", str(dest), is_deleting=True),
        [image_of()._replace(snapshot=snapshot)],
        store,
    )

    assert sorted(os.listdir(dest)) == ["d", "l", "p"]
    assert sorted(os.listdir(dest / "d")) == ["file", "link"]


def test_an_empty_root_makes_an_empty_folder(store: Store, tmp_path: Path) -> None:
    export(Output("local", str(tmp_path / "out")), [image_of()], store)

    assert os.listdir(tmp_path / "out") == []


def test_nothing_is_written_for_the_cache_only(store: Store) -> None:
    assert export(Output("cacheonly"), [], store).descriptor is None


@pytest.mark.parametrize("is_touched", [False, True])
def test_a_large_layer_is_exported_as_it_is(
    store: Store,
    tmp_path: Path,
    is_touched: bool,  # noqa: FBT001 - pytest passes it
) -> None:
    result = image(store, os.urandom(5 << 20))
    digest = result.layers[0].descriptor.digest
    if is_touched:  # it is read again
        os.utime(store.content.path(digest), (1, 1))

    export(Output("oci", str(tmp_path / "a.tar")), [result], store)

    assert digest_of(blobs_in(tmp_path / "a.tar")[blob_name(digest)]) == digest


def test_a_large_layer_that_somebody_changed_is_never_exported(
    store: Store, tmp_path: Path
) -> None:
    result = image(store, os.urandom(5 << 20))
    path = store.content.path(Digest(result.layers[0].descriptor.digest))
    os.chmod(path, 0o600)
    with open(path, "r+b") as blob:
        blob.write(b"X")
    os.utime(path, (1, 1))  # a clock may stand still for some milliseconds

    with pytest.raises(StoreError, match="corrupt"):
        export(Output("oci", str(tmp_path / "a.tar")), [result], store)


def test_a_corrupt_layer_of_the_store_is_never_exported(store: Store, tmp_path: Path) -> None:
    result = image(store, os.urandom(10_000))
    path = store.content.path(Digest(result.layers[0].descriptor.digest))
    size = os.stat(path).st_size
    os.chmod(path, 0o600)
    Path(path).write_bytes(bytes(size))

    with pytest.raises(StoreError, match="corrupt"):
        export(Output("oci", str(tmp_path / "a.tar")), [result], store)

    assert os.listdir(tmp_path) == ["store"]
