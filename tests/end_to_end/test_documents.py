"""Every JSON document that the program writes is what the image-spec says."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.end_to_end.site import Site, unpack
from tests.oci.schemas import check_layout, complaints

pytestmark = pytest.mark.namespaces
DOCKERFILE = """FROM busybox
ENV A=b
EXPOSE 80 53/udp
VOLUME /data
HEALTHCHECK --interval=5s CMD true
ONBUILD RUN true
LABEL a=b
COPY file /
CMD ["sh"]
"""


@pytest.mark.parametrize(
    "options",
    [
        "type=oci", "type=docker", "type=oci,compression=zstd", "type=oci,compression=uncompressed",
        "type=oci,annotation.a=b,annotation-index.c=d",
    ],
)  # fmt: skip
@pytest.mark.parametrize("dockerfile", [DOCKERFILE, "FROM scratch\n", "FROM scratch\nLABEL a=b\n"])
def test_archives_of_builds(site: Site, options: str, dockerfile: str) -> None:
    site.write("file", "x")
    archive = site.directory / "image.tar"

    site.build(dockerfile, "-t", "app:1", "--output", f"{options},dest={archive}")

    assert check_layout(unpacked(archive)) >= 2


def test_an_archive_of_several_platforms(site: Site) -> None:
    archive = site.directory / "image.tar"

    site.build(
        "FROM scratch\nCOPY . /\n",
        "--platform=linux/amd64,linux/arm/v7", "--annotation", "index:a=b",
        "--output", f"type=oci,dest={archive}",
    )  # fmt: skip

    assert check_layout(unpacked(archive)) == 5


def test_the_store_and_what_it_saves(site: Site) -> None:
    site.write("file", "x")
    site.build(DOCKERFILE, "-t", "app:1")
    site.build("FROM scratch\n", "-t", "empty")
    site.run("import", "-", "mine:1", stdin=small_archive(site.directory))
    made = site.text("create", "app:1")
    site.run("commit", "-a", "me", "-m", "why", made, "committed:1")
    site.run("manifest", "create", "list:1", "app:1", "mine:1")
    site.run("save", "-o", str(site.directory / "saved.tar"), "app:1", "committed:1", "mine:1")
    site.run("copy", "app:1", f"oci:{site.directory}/copied:1")

    shown = json.loads(site.text("manifest", "inspect", "list:1"))

    assert complaints("index", shown) == []
    assert check_layout(site.state / "content") >= 8
    assert check_layout(site.directory / "copied") == 2
    saved = unpacked(site.directory / "saved.tar")
    assert check_layout(saved) >= 6


def small_archive(directory: Path) -> bytes:
    path = directory / "small.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return path.read_bytes()


def unpacked(archive: Path) -> Path:
    directory = archive.with_suffix(".d")
    os.makedirs(directory)
    with tarfile.open(archive) as opened:
        unpack(opened, directory)
    return directory
