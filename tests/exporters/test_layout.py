import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.errors import StoreError
from builder.exporters.archive import ArchiveSink
from builder.exporters.blobs import Blobs
from builder.exporters.directory import DirectorySink
from builder.exporters.documents import assemble
from builder.exporters.layout import Root, write_layout
from builder.exporters.output import Output
from builder.exporters.result import ImageResult
from builder.oci.digest import digest_of, hex_of
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from tests.exporters.images import Files, gzip_layer, image_of, layer_tar

NAME = parse_reference("example:1")

needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
needs_umoci = pytest.mark.skipif(not shutil.which("umoci"), reason="umoci is not installed")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    folder = tmp_path / "blobs"
    folder.mkdir()
    return Files(folder)


def archive(
    files: Files,
    path: Path,
    images: Sequence[ImageResult],
    *,
    output: Output = Output("oci"),  # noqa: B008 - a value
    is_index: bool = False,
) -> Path:
    documents = assemble(images, output, is_index=is_index)
    shown = documents.manifests[0] if output.type == "docker" else None
    with path.open("wb") as out:
        write_layout(
            ArchiveSink(out.fileno()),
            [Root(documents.root, (NAME,), shown)],
            Blobs(files, documents.contents),
        )
    return path


def test_an_archive_is_sorted_dated_1970_and_the_same_every_time(
    files: Files, tmp_path: Path
) -> None:
    image = image_of(gzip_layer(files, layer_tar(a=b"1")), gzip_layer(files, layer_tar(b=b"2")))

    first = archive(files, tmp_path / "a.tar", [image]).read_bytes()
    again = archive(files, tmp_path / "b.tar", [image]).read_bytes()

    assert first == again
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    blobs = [name for name in names if name.startswith("blobs/sha256/")]
    assert names == ["blobs", "blobs/sha256", *sorted(blobs), "index.json", "oci-layout"]
    assert {member.mtime for member in members} == {0}
    assert {member.mode for member in members if member.name in blobs} == {0o444}


def test_every_blob_of_an_archive_has_its_digest(files: Files, tmp_path: Path) -> None:
    big = gzip_layer(files, layer_tar(big=os.urandom(6 << 20)))

    path = archive(files, tmp_path / "a.tar", [image_of(big)])

    with tarfile.open(path) as tar:
        for member in tar.getmembers():
            if member.isfile() and member.name.startswith("blobs/"):
                extracted = tar.extractfile(member)
                assert extracted is not None
                assert hex_of(digest_of(extracted.read())) == member.name.rpartition("/")[2]


@pytest.mark.parametrize("size_bytes", [100, 6 << 20])
def test_a_corrupt_blob_is_not_exported(files: Files, tmp_path: Path, size_bytes: int) -> None:
    layer = gzip_layer(files, layer_tar(f=os.urandom(size_bytes)))
    with (files.folder / hex_of(layer.descriptor.digest)).open("r+b") as blob:
        blob.seek(-9, os.SEEK_END)
        blob.write(b"X")

    with pytest.raises(StoreError, match="corrupt"):
        archive(files, tmp_path / "a.tar", [image_of(layer)])


def test_an_archive_goes_through_a_pipe(files: Files, tmp_path: Path) -> None:
    image = image_of(gzip_layer(files, layer_tar(big=os.urandom(5 << 20))))
    whole = archive(files, tmp_path / "a.tar", [image]).read_bytes()
    documents = assemble([image], Output("oci"), is_index=False)

    with (
        (tmp_path / "b.tar").open("wb") as out,
        subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=out) as cat,
    ):
        assert cat.stdin is not None
        sink = ArchiveSink(cat.stdin.fileno())
        write_layout(sink, [Root(documents.root, (NAME,))], Blobs(files, documents.contents))

    assert (tmp_path / "b.tar").read_bytes() == whole


def test_a_docker_archive_lists_blobs_that_are_members(files: Files, tmp_path: Path) -> None:
    image = image_of(gzip_layer(files, layer_tar(a=b"1")))

    path = archive(files, tmp_path / "a.tar", [image], output=Output("docker", has_oci_types=False))

    with tarfile.open(path) as tar:
        listed = tar.extractfile("manifest.json")
        assert listed is not None
        (entry,) = json.load(listed)
        assert entry["RepoTags"] == ["example:1"]
        assert {entry["Config"], *entry["Layers"]} <= set(tar.getnames())


def test_a_directory_keeps_other_images_and_moves_a_name(files: Files, tmp_path: Path) -> None:
    layout = tmp_path / "layout"

    for content, names in ((b"1", (NAME,)), (b"2", (NAME,)), (b"3", ())):
        documents = assemble(
            [image_of(gzip_layer(files, layer_tar(a=content)))], Output("oci"), is_index=False
        )
        with DirectorySink(str(layout)) as sink:
            write_layout(sink, [Root(documents.root, names)], Blobs(files, documents.contents))

    index = json.loads((layout / "index.json").read_text())
    named = [
        entry.get("annotations", {}).get("io.containerd.image.name") for entry in index["manifests"]
    ]
    assert named == ["docker.io/library/example:1", None]
    assert (layout / "oci-layout").exists()


def test_a_failed_export_leaves_a_directory_as_it_was(files: Files, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    layer = gzip_layer(files, layer_tar(f=b"x"))
    documents = assemble([image_of(layer)], Output("oci"), is_index=False)
    (files.folder / hex_of(layer.descriptor.digest)).write_bytes(b"bad")

    with pytest.raises(StoreError), DirectorySink(str(layout)) as sink:
        write_layout(sink, [Root(documents.root, (NAME,))], Blobs(files, documents.contents))

    assert [path for path in layout.rglob("*") if path.is_file()] == []


@needs_skopeo
@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_skopeo_reads_and_copies_an_archive(files: Files, tmp_path: Path, kind: str) -> None:
    image = image_of(gzip_layer(files, layer_tar(a=b"1")), gzip_layer(files, layer_tar(b=b"2")))
    output = Output("oci") if kind == "oci" else Output("docker", has_oci_types=False)
    path = archive(files, tmp_path / "a.tar", [image], output=output)
    sources = [f"oci-archive:{path}"] + ([f"docker-archive:{path}"] if kind == "docker" else [])

    for source in sources:
        shown = subprocess.run(["skopeo", "inspect", source], capture_output=True, check=True)
        assert len(json.loads(shown.stdout)["Layers"]) == 2
        copied = tmp_path / source.partition(":")[0]
        subprocess.run(
            ["skopeo", "copy", "--insecure-policy", source, f"dir:{copied}"],
            capture_output=True,
            check=True,
        )
        assert (copied / "manifest.json").exists()


@needs_skopeo
def test_skopeo_reads_an_index_of_two_platforms(files: Files, tmp_path: Path) -> None:
    images = [
        image_of(gzip_layer(files, layer_tar(a=b"1"))),
        image_of(gzip_layer(files, layer_tar(a=b"2")), platform=Platform("linux", "arm64")),
    ]

    path = archive(files, tmp_path / "a.tar", images)

    subprocess.run(
        ["skopeo", "copy", "--insecure-policy", "--all", f"oci-archive:{path}",
         f"dir:{tmp_path / 'copied'}"],
        capture_output=True,
        check=True,
    )  # fmt: skip
    assert len(list((tmp_path / "copied").glob("*.manifest.json"))) == 2


@needs_umoci
def test_umoci_unpacks_a_directory(files: Files, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    documents = assemble(
        [image_of(gzip_layer(files, layer_tar(a=b"1")))], Output("oci"), is_index=False
    )
    with DirectorySink(str(layout)) as sink:
        write_layout(sink, [Root(documents.root, (NAME,))], Blobs(files, documents.contents))

    subprocess.run(
        ["umoci", "unpack", "--rootless", "--image", f"{layout}:1", str(tmp_path / "bundle")],
        capture_output=True,
        check=True,
    )

    assert (tmp_path / "bundle/rootfs/a").read_bytes() == b"1"
