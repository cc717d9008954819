"""What comes out besides files: several platforms, annotations, squashed layers, metadata."""

import json
import tarfile
from typing import Any

import pytest

from builder.oci.digest import digest_of
from tests.end_to_end.site import Site, entries

pytestmark = pytest.mark.namespaces
TWO = "--platform=linux/amd64,linux/arm64"
CROSS = "FROM scratch\nARG TARGETARCH\nCOPY for-$TARGETARCH /it\nLABEL arch=$TARGETARCH\n"


class Layout:
    """An OCI archive, read into memory."""

    def __init__(self, site: Site, dockerfile: str, *options: str) -> None:
        path = site.directory / "out.tar"
        site.build(dockerfile, f"--output=type=oci,dest={path}", *options)
        with tarfile.open(path) as archive:
            self.files = {
                entry.name: reader.read()
                for entry in archive
                if (reader := archive.extractfile(entry)) is not None
            }
        [self.descriptor] = json.loads(self.files["index.json"])["manifests"]
        self.root = self.document(self.descriptor)

    def document(self, descriptor: dict[str, Any]) -> dict[str, Any]:
        found = json.loads(self.files[f"blobs/{descriptor['digest'].replace(':', '/')}"])
        assert isinstance(found, dict)
        return found


@pytest.fixture
def crossing(site: Site) -> Site:
    site.write("for-amd64", "a")
    site.write("for-arm64", "b")
    return site


def test_several_platforms_make_an_index(crossing: Site) -> None:
    layout = Layout(crossing, CROSS, TWO)

    manifests = layout.root["manifests"]
    assert [m["platform"]["architecture"] for m in manifests] == ["amd64", "arm64"]
    configs = [layout.document(layout.document(m)["config"]) for m in manifests]
    assert [c["config"]["Labels"]["arch"] for c in configs] == ["amd64", "arm64"]
    assert [c["architecture"] for c in configs] == ["amd64", "arm64"]


def test_the_files_of_several_platforms_go_to_folders_of_their_own(crossing: Site) -> None:
    folder, archive = crossing.directory / "out", crossing.directory / "out.tar"

    crossing.build(CROSS, TWO, f"--output={folder}", f"--output=type=tar,dest={archive}")

    assert (folder / "linux_amd64/it").read_text() == "a"
    assert (folder / "linux_arm64/it").read_text() == "b"
    assert entries(archive)["linux_arm64/it"].content == b"b"


def test_files_of_one_platform_are_split_only_if_asked_for(crossing: Site) -> None:
    folder = crossing.directory / "out"

    crossing.build(CROSS, "--platform=linux/arm64", f"--output={folder}/plain")
    split = f"--output=type=local,dest={folder}/split,platform-split=true"
    crossing.build(CROSS, "--platform=linux/arm64", split)

    assert (folder / "plain/it").read_text() == "b"
    assert (folder / "split/linux_arm64/it").read_text() == "b"


def test_the_id_of_several_platforms_is_that_of_their_index(crossing: Site) -> None:
    path = crossing.directory / "id"

    crossing.build(CROSS, TWO, "--tag=app", f"--iidfile={path}")

    layout = Layout(crossing, CROSS, TWO)
    assert path.read_text() == layout.descriptor["digest"]


def test_annotations_go_to_the_documents_they_name(crossing: Site) -> None:
    layout = Layout(
        crossing,
        CROSS,
        TWO,
        "--annotation=plain=1",
        "--annotation=index:of-index=2",
        "--annotation=manifest-descriptor[linux/arm64]:of-one=3",
        "--annotation=index-descriptor,manifest:of-both=4",
    )

    manifests = layout.root["manifests"]
    assert layout.root["annotations"] == {"of-index": "2"}
    assert "annotations" not in manifests[0]
    assert manifests[1]["annotations"] == {"of-one": "3"}
    assert layout.document(manifests[0])["annotations"] == {"plain": "1", "of-both": "4"}
    assert layout.descriptor["annotations"]["of-both"] == "4"


def test_squashed_layers_are_one_without_what_was_deleted(site: Site) -> None:
    dockerfile = """\
FROM busybox
RUN echo secret > /secret && mkdir /d && echo one > /d/one
RUN rm /secret /bin/vi && echo two > /d/two && ln /d/two /d/three
RUN rm -r /d/one && chmod 700 /d
"""
    plain = site.tree(dockerfile)

    squashed = Layout(site, dockerfile, "--squash")

    [*_base, layer] = squashed.root["layers"]
    path = site.directory / "layer.tar"
    path.write_bytes(squashed.files[f"blobs/{layer['digest'].replace(':', '/')}"])
    files = entries(path)
    assert {"d", "d/three", "d/two", "bin/.wh.vi"} <= files.keys()
    assert not {"secret", "d/one", ".wh.secret"} & files.keys()
    site.run("load", "--input", str(site.directory / "out.tar"), "--tag=app")
    again = site.tree("FROM app\n")
    assert {n: (f.content, f.entry.mode) for n, f in again.items()} == {
        n: (f.content, f.entry.mode) for n, f in plain.items()
    }


def test_a_squashed_image_keeps_its_history(site: Site) -> None:
    squashed = Layout(site, "FROM busybox\nRUN true\nCMD a\nRUN true\n", "--squash")

    config = squashed.document(squashed.root["config"])
    history = config["history"]
    assert history[-1]["comment"] == "2 layers squashed"
    assert [entry.get("empty_layer", False) for entry in history[-4:]] == [True, True, True, False]
    layers = sum(not entry.get("empty_layer", False) for entry in history)
    assert layers == len(config["rootfs"]["diff_ids"])


def test_the_metadata_file_names_the_image_and_the_warnings(site: Site) -> None:
    path, archive = site.directory / "facts.json", site.directory / "a.tar"

    site.build(
        "FROM busybox\nCMD x\n", "--tag=app", f"--metadata-file={path}",
        f"--output=type=tar,dest={archive}", "--load",
    )  # fmt: skip

    facts = json.loads(path.read_text())
    assert facts["image.name"] == "docker.io/library/app:latest"
    assert facts["containerimage.descriptor"]["digest"] == facts["containerimage.digest"]
    assert facts["containerimage.config.digest"] == site.inspect("app")["Id"]
    [warning] = facts["buildx.build.warnings"]
    assert warning.startswith("JSONArgsRecommended: ")
    assert archive.exists()


def test_times_are_clamped_only_with_rewrite_timestamp(site: Site) -> None:
    dockerfile = "FROM scratch\nCOPY a /\n"
    site.write("a", "A")
    epoch = "--build-arg=SOURCE_DATE_EPOCH=1000000000"
    path = site.directory / "r.tar"

    site.build(dockerfile, epoch, f"--output=type=oci,dest={path},rewrite-timestamp=true")
    plain = Layout(site, dockerfile, epoch)

    config = plain.document(plain.root["config"])
    assert config["created"] == "2001-09-09T01:46:40Z"
    layer = site.directory / "layer.tar"
    with tarfile.open(path) as archive:
        readers = [archive.extractfile(entry) for entry in archive if entry.isreg()]
        blobs = [reader.read() for reader in readers if reader is not None]
    [packed] = [blob for blob in blobs if blob.startswith(b"\x1f\x8b")]
    layer.write_bytes(packed)
    assert entries(layer)["a"].entry.mtime == 1_000_000_000
    assert digest_of(packed) != plain.root["layers"][0]["digest"]
