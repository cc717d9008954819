"""Cache that moves between machines: records, layers and cache mounts in a directory."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.site import Built, Site

pytestmark = pytest.mark.namespaces

DOCKERFILE = """\
FROM busybox AS tools
COPY lib /lib-src
RUN --mount=type=cache,id=pip,target=/pip cat /lib-src/* > /built && echo x >> /pip/wheel
FROM busybox
COPY --from=tools /built /built
RUN cat /built > /result
"""
FAILS_IF_RUN = DOCKERFILE + "RUN false\n"


@pytest.fixture
def carried(site: Site) -> Path:
    """Build with an export of everything, and give its directory."""
    site.write("lib/a", "a\n")
    directory = site.directory / "cache"
    site.build(
        DOCKERFILE, "--tag=app", f"--cache-to=type=local,dest={directory},mode=max,mounts=all"
    )
    return directory


def elsewhere(site: Site, archive: Path, name: str = "there") -> str:
    """Name a machine that has the base image and nothing else."""
    there = str(site.directory / name)
    site.run("load", "--quiet", "--input", str(archive), "--tag", "busybox", BUILDER_ROOT=there)
    return there


def build(
    site: Site,
    there: str,
    directory: Path,
    *options: str,
    dockerfile: str = DOCKERFILE,
) -> Built:
    source = f"--cache-from=type=local,src={directory}"
    return site.build(dockerfile, "--tag=app", source, *options, BUILDER_ROOT=there)


def test_another_machine_builds_the_same_image_and_runs_nothing(
    site: Site, carried: Path, busybox_archive: Path
) -> None:
    before = site.text("image", "inspect", "--format={{.Id}}", "app")
    there = elsewhere(site, busybox_archive)

    built = build(site, there, carried)

    assert all(built.steps.values())
    assert site.text("image", "inspect", "--format={{.Id}}", "app", BUILDER_ROOT=there) == before


def test_a_change_elsewhere_runs_what_it_must(
    site: Site, carried: Path, busybox_archive: Path
) -> None:
    there = elsewhere(site, busybox_archive)

    built = build(site, there, carried, dockerfile=DOCKERFILE.replace("/result", "/other"))

    assert built.is_cached("COPY --from=tools")
    assert not built.is_cached("RUN cat /built")


def test_the_minimal_mode_has_the_final_layers_only(site: Site, busybox_archive: Path) -> None:
    site.write("lib/a", "a\n")
    directory = site.directory / "cache"
    site.build(DOCKERFILE, "--tag=app", f"--cache-to=type=local,dest={directory}")
    there = elsewhere(site, busybox_archive)

    assert all(build(site, there, directory).steps.values())
    third = elsewhere(site, busybox_archive, "third")
    edited = build(site, third, directory, dockerfile=DOCKERFILE.replace("/pip/wheel", "/pip/w"))

    assert not edited.is_cached("COPY lib")


def test_each_look_up_is_told(site: Site, carried: Path, busybox_archive: Path) -> None:
    there = elsewhere(site, busybox_archive)

    lookups = json.loads(build(site, there, carried, "--explain=json").stdout)["lookups"]

    assert [text.partition(" in ")[2] for text in lookups] == [
        "this store: no record",
        f"local:{carried}: found",
    ]


@pytest.mark.parametrize("damage", ["missing", "no index", "bad index", "bad blobs"])
def test_a_broken_cache_only_warns(
    site: Site, carried: Path, busybox_archive: Path, damage: str
) -> None:
    there = elsewhere(site, busybox_archive)
    if damage == "missing":
        shutil.rmtree(carried)
    elif damage == "bad blobs":
        for blob in (carried / "blobs/sha256").iterdir():
            blob.write_bytes(b"x" * blob.stat().st_size)
    else:
        (carried / "index.json").unlink()
        if damage == "bad index":
            (carried / "index.json").write_text('{"schemaVersion": 2, "manifests": 3}')

    built = build(site, there, carried)

    assert not built.is_cached("RUN cat /built")
    assert "cache local:" in built.stderr


def test_a_cache_that_cannot_be_written_fails_the_command_but_not_the_image(site: Site) -> None:
    site.write("lib/a", "a\n")
    option = f"--cache-to=type=local,dest={site.write('file')}"

    failed = site.build(DOCKERFILE, "--tag=app", option, status=1)
    ignored = site.build(DOCKERFILE, f"{option},ignore-error=true")

    assert "is not written" in failed.stderr
    assert site.inspect("app")
    assert "is not written" in ignored.stderr


@pytest.mark.parametrize("option", ["--cache-to=type=gha", "--cache-from=type=inline"])
def test_a_cache_that_makes_no_sense_is_refused_before_anything_runs(
    site: Site, option: str
) -> None:
    built = site.build(DOCKERFILE, option, status=2)

    assert built.steps == {}


def test_a_directory_may_hold_an_image_that_carries_its_cache(
    site: Site, busybox_archive: Path
) -> None:
    site.write("lib/a", "a\n")
    directory = site.directory / "image"
    output = f"--output=type=oci,tar=false,dest={directory}"
    site.build(DOCKERFILE, output, "--cache-to=type=inline")
    there = elsewhere(site, busybox_archive)

    built = build(site, there, directory)

    assert all(built.steps.values())


def test_what_another_builder_wrote_into_a_directory_is_told(
    site: Site, carried: Path, busybox_archive: Path
) -> None:
    blobs = carried / "blobs/sha256"

    def written(value: dict[str, Any], kind: str) -> dict[str, Any]:
        content = json.dumps(value).encode()
        name = hashlib.sha256(content).hexdigest()
        (blobs / name).write_bytes(content)
        return {"mediaType": kind, "digest": f"sha256:{name}", "size": len(content)}

    cache = written({"records": [{}, {}]}, "application/vnd.buildkit.cacheconfig.v0")
    kind = "application/vnd.oci.image.index.v1+json"
    root = written({"schemaVersion": 2, "mediaType": kind, "manifests": [cache]}, kind)
    index = {"schemaVersion": 2, "mediaType": kind, "manifests": [root]}
    (carried / "index.json").write_text(json.dumps(index))

    built = build(site, elsewhere(site, busybox_archive), carried)

    assert built.stderr.count("made by another builder (2 records)") == 1
    assert not built.is_cached("RUN cat /built")


def test_what_hits_is_handed_on_whole(site: Site, carried: Path, busybox_archive: Path) -> None:
    there = elsewhere(site, busybox_archive)
    second = site.directory / "second"
    build(site, there, carried, f"--cache-to=type=local,dest={second},mode=max")
    third = elsewhere(site, busybox_archive, "third")

    built = build(site, third, second, dockerfile=DOCKERFILE.replace("/result", "/other"))

    assert built.is_cached("COPY --from=tools")
    assert not built.is_cached("RUN cat /built")


def test_an_export_of_the_same_writes_nothing_new(site: Site, carried: Path) -> None:
    blobs = carried / "blobs/sha256"
    before = {path.name: path.stat().st_mtime_ns for path in blobs.iterdir()}

    site.build(DOCKERFILE, f"--cache-to=type=local,dest={carried},mode=max,mounts=all")

    assert {path.name: path.stat().st_mtime_ns for path in blobs.iterdir()} == before


def test_cache_mounts_travel_with_the_cache(
    site: Site, carried: Path, busybox_archive: Path
) -> None:
    there = elsewhere(site, busybox_archive)
    build(site, there, carried)

    [mount] = json.loads(site.text("cache", "inspect", "pip", BUILDER_ROOT=there))

    assert Path(mount["Path"], "wheel").read_text() == "x\n"


def test_cache_mounts_are_exported_imported_and_removed(site: Site) -> None:
    site.write("lib/a", "a\n")
    site.build(DOCKERFILE)
    directory = site.directory / "mounts"

    assert "1 written" not in site.text("cache", "export", "--id=pip", str(directory))
    assert "0B written" in site.text("cache", "export", str(directory))
    assert "left alone" in site.text("cache", "import", str(directory))
    assert len(site.text("cache", "rm", "pip")) == 64
    assert site.text("cache", "ls", "--quiet") == ""
    assert "left alone" not in site.text("cache", "import", str(directory))
    assert "pip" in site.text("cache", "ls")
    site.run("cache", "rm", "nothing-such", status=1)
    site.run("cache", "rm", status=2)
