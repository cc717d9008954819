"""Copies that link files of earlier snapshots come to the same layers as copies that do not."""

import json
import os
import tarfile
from pathlib import Path

import pytest

from tests.end_to_end.site import Site

pytestmark = pytest.mark.root

MANY = 130
OLD_S, EPOCH_S = 1_500_000_000, 1_700_000_000


def fill(site: Site) -> None:
    for number in range(MANY):
        path = site.write(f"d{number % 5}/e{number % 3}/f{number}", f"{number}\n" * number)
        path.chmod((0o644, 0o755, 0o600)[number % 3])
    os.symlink("f0", site.context / "d0/link")
    os.link(site.context / "d0/e0/f0", site.context / "d0/same")
    for directory, names, files in os.walk(site.context, topdown=False):
        for name in (*names, *files):
            os.utime(Path(directory, name), (OLD_S, OLD_S), follow_symlinks=False)
    os.utime(site.context, (OLD_S, OLD_S))


def layers(site: Site, dockerfile: str, *options: str) -> list[str]:
    """Build and give the digests of the layers but the first, which is busybox's."""
    dest = site.directory / "image.tar"
    output = f"type=oci,dest={dest},compression=uncompressed,rewrite-timestamp=true"
    site.build(dockerfile, *options, "--output", output, SOURCE_DATE_EPOCH=str(EPOCH_S))
    with tarfile.open(dest) as archive:

        def blob(name: str) -> dict[str, list[dict[str, str]]]:
            file = archive.extractfile(name)
            assert file is not None
            found: dict[str, list[dict[str, str]]] = json.load(file)
            return found

        digest = blob("index.json")["manifests"][0]["digest"]
        manifest = blob(f"blobs/{digest.replace(':', '/')}")
    return [layer["digest"] for layer in manifest["layers"][1:]]


def edit(site: Site) -> None:
    context = site.context
    (context / "d1/e1/f1").write_text("changed")
    (context / "d2/e2/f2").unlink()
    (context / "d3/e0/f3").chmod(0o640)
    os.utime(context / "d4/e1/f4", (OLD_S + 5, OLD_S + 5))
    site.write("d9/new", "new")
    (context / "d0/same").unlink()
    (context / "d0/same").write_bytes((context / "d0/e0/f0").read_bytes())


def test_a_rebuilt_copy_is_the_layer_of_a_clean_build(site: Site) -> None:
    dockerfile = (
        "FROM busybox AS a\nWORKDIR /app\nCOPY . .\nRUN echo x > /app/d1/e1/f1\n"
        "FROM busybox\nCOPY --from=a /app /there\nCOPY --chown=5:6 . /new/one\n"
        "COPY --chmod=750 . /new/two/\n"
    )
    fill(site)
    first = layers(site, dockerfile)
    edit(site)

    rebuilt = layers(site, dockerfile)
    for made in site.state.glob("snapshots/*/made"):
        made.unlink()
    clean = layers(site, dockerfile, "--no-cache")

    assert rebuilt == clean
    assert all(left != right for left, right in zip(first, rebuilt, strict=True))


def test_unchanged_files_are_linked(site: Site) -> None:
    fill(site)
    for text in ("1", "2"):
        site.write("changing", text)
        site.build("FROM busybox\nCOPY . /app\n")

    found = list(site.state.glob("snapshots/*/diff/app/d4/e1/f4"))

    assert len(found) == 2
    assert os.path.samefile(*found)


def test_no_tree_shows_a_linked_file_twice(site: Site) -> None:
    fill(site)
    compare = "[ $(stat -c %i /a/d4/e1/f4) != $(stat -c %i /b/d4/e1/f4) ]"

    site.build(
        "FROM busybox AS s\nCOPY . /app\n"
        f"FROM busybox\nCOPY --from=s /app /a\nCOPY --from=s /app /b\nRUN {compare}\n"
    )
    site.build(f"FROM busybox AS s\nCOPY . /a\nFROM s\nCOPY --from=s /a /b\nRUN {compare}\n")


def test_other_parts_of_a_stage_are_linked_too(site: Site) -> None:
    fill(site)

    site.build(
        "FROM busybox AS s\nCOPY . /app\n"
        "FROM busybox\nCOPY --from=s /app/d1 /a/\nCOPY --from=s /app/d4 /b/\n"
    )

    [made] = site.state.glob("snapshots/*/diff/app/d4/e1/f4")
    [linked] = site.state.glob("snapshots/*/diff/b/e1/f4")
    assert os.path.samefile(made, linked)
