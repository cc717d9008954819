"""Images copied into another form: media types, compressions, and what stays as it is."""

import gzip
import json
import os
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.engine.archives import Layout, config_of, docker_archive, layer, sha
from tests.oci.schemas import check_layout
from tests.registry.servers import Answer, Registry, Seen, image_of, peer_environment, spoiling
from tests.registry.test_commands import Program, needs_skopeo, program, put, well

__all__ = ["program"]
pytestmark = pytest.mark.namespaces

OCI, DOCKER = "application/vnd.oci.image.", "application/vnd.docker."
OCI_LAYER, DOCKER_LAYER = f"{OCI}layer.v1.tar", f"{DOCKER}image.rootfs.diff.tar"
LAYERS = [layer(first=b"1" * 5000), layer(second=os.urandom(3000))]


def written(directory: Path, layout: Layout, root: dict[str, Any], name: str = "in") -> str:
    """Write a layout whose only image is `root`; give its place."""
    layout.entries = [root]
    for path, content in layout.members():
        assert isinstance(content, bytes)
        (directory / name / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / name / path).write_bytes(content)
    return f"oci:{name}"


@pytest.fixture
def source(tmp_path: Path) -> str:
    layout = Layout()
    return written(tmp_path, layout, layout.manifest(LAYERS))


def root_of(directory: Path) -> dict[str, Any]:
    [entry] = json.loads((directory / "index.json").read_bytes())["manifests"]
    return dict(entry)


def read(directory: Path, descriptor: dict[str, Any]) -> bytes:
    name = str(descriptor["digest"]).removeprefix("sha256:")
    return (directory / "blobs/sha256" / name).read_bytes()


def document(directory: Path, descriptor: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(read(directory, descriptor)))


def plain(content: bytes, media_type: str) -> bytes:
    if media_type.endswith("gzip"):
        return zlib.decompress(content, 31)
    if media_type.endswith("zstd"):
        import pyzstd

        return bytes(pyzstd.decompress(content))
    return content


OCI_MANIFEST = f"{OCI}manifest.v1+json"
DOCKER_MANIFEST = f"{DOCKER}distribution.manifest.v2+json"
FORMS = [
    ((), OCI_MANIFEST, f"{OCI_LAYER}+gzip"),
    (("--format", "oci"), OCI_MANIFEST, f"{OCI_LAYER}+gzip"),
    (("--format=docker",), DOCKER_MANIFEST, f"{DOCKER_LAYER}.gzip"),
    (("--format=v2s2", "--compression=none"), DOCKER_MANIFEST, DOCKER_LAYER),
    (("--compression=zstd",), OCI_MANIFEST, f"{OCI_LAYER}+zstd"),
    (("--compression=none",), OCI_MANIFEST, OCI_LAYER),
    (("--compression=gzip", "--compression-level=9"), OCI_MANIFEST, f"{OCI_LAYER}+gzip"),
]


@pytest.mark.parametrize("form", FORMS)
def test_an_image_in_another_form_has_the_same_files(
    program: Program, source: str, tmp_path: Path, form: tuple[tuple[str, ...], str, str]
) -> None:
    options, manifest, kind = form

    digest = well(program("copy", "-q", *options, source, "oci:out"))

    before = document(tmp_path / "in", root_of(tmp_path / "in"))
    root = root_of(tmp_path / "out")
    after = document(tmp_path / "out", root)
    assert (root["digest"], root["mediaType"], after["mediaType"]) == (digest, manifest, manifest)
    assert after["config"]["digest"] == before["config"]["digest"]
    assert [one["mediaType"] for one in after["layers"]] == [kind, kind]
    assert [plain(read(tmp_path / "out", one), kind) for one in after["layers"]] == LAYERS
    assert check_layout(tmp_path / "out") == 2


@pytest.mark.parametrize(
    "options", [("--format=oci",), ("--compression=gzip",), ("--format=oci", "-a")]
)
def test_what_is_in_the_wanted_form_keeps_its_digest(
    program: Program, source: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    digest = well(program("copy", "-q", "--preserve-digests", *options, source, "oci:out"))

    assert digest == root_of(tmp_path / "in")["digest"]


def test_the_way_back_leads_to_the_first_digest(program: Program, source: str) -> None:
    """The document here is written as ours are, so that its own digest can come back as well."""
    first = well(program("copy", "-q", "--compression=none", source, "oci:a"))
    well(program("copy", "-q", "--compression=zstd", "oci:a", "oci:b"))
    well(program("copy", "-q", "--format=docker", "oci:b", "oci:c"))

    again = well(program("copy", "-q", "--format=oci", "--compression=none", "oci:c", "oci:d"))

    assert again == first


@pytest.mark.parametrize("options", [("--format=docker",), ("--compression=zstd",)])
def test_digests_that_are_to_be_preserved_are(
    program: Program, source: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    refused = program("copy", "--preserve-digests", *options, source, "oci:out")

    assert refused.returncode == 1
    assert b"would have to be converted" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_an_archive_for_docker_has_no_zstd(program: Program, source: str, tmp_path: Path) -> None:
    well(program("copy", "-q", "--compression=zstd", source, "oci:zstd"))

    refused = program("copy", "--preserve-digests", "oci:zstd", "docker-archive:x.tar")
    well(program("copy", "-q", "oci:zstd", "docker-archive:a.tar:x:1"))
    well(program("copy", "-q", "docker-archive:a.tar", "oci:out"))

    assert refused.returncode == 1
    layers = document(tmp_path / "out", root_of(tmp_path / "out"))["layers"]
    assert {one["mediaType"] for one in layers} == {f"{OCI_LAYER}+gzip"}


def test_all_platforms_become_another_format(program: Program, tmp_path: Path) -> None:
    layout = Layout()
    entries = [layout.manifest(LAYERS, architecture=name) for name in ("amd64", "arm64")]
    subject = {"vnd.docker.reference.digest": entries[0]["digest"]}
    statement = layout.blob(b"{}", "application/vnd.in-toto+json")
    unknown = {"architecture": "unknown", "os": "unknown"}
    config = layout.blob(config_of([b"{}"]), f"{OCI}config.v1+json")
    value = {"schemaVersion": 2, "mediaType": f"{OCI}manifest.v1+json", "config": config}
    attestation = layout.document(
        {**value, "layers": [statement]}, "manifest", platform=unknown, annotations=subject
    )
    place = written(tmp_path, layout, layout.index([*entries, attestation]))

    zstd = program("copy", "-q", "--all", "--compression=zstd", place, "oci:zstd")
    docker = program("copy", "--all", "--format=docker", place, "oci:docker")

    well(zstd)
    index = document(tmp_path / "zstd", root_of(tmp_path / "zstd"))["manifests"]
    assert [one["platform"]["architecture"] for one in index] == ["amd64", "arm64", "unknown"]
    assert index[2]["digest"] == attestation["digest"]
    assert index[2]["annotations"]["vnd.docker.reference.digest"] == index[0]["digest"]
    assert index[0]["digest"] != entries[0]["digest"]
    well(docker)
    assert b"no place for attestations: left out" in docker.stderr
    root = root_of(tmp_path / "docker")
    listed = document(tmp_path / "docker", root)
    assert listed["mediaType"] == f"{DOCKER}distribution.manifest.list.v2+json"
    assert [one["platform"]["architecture"] for one in listed["manifests"]] == ["amd64", "arm64"]
    assert (check_layout(tmp_path / "zstd"), check_layout(tmp_path / "docker")) == (7, 5)


def test_an_archive_for_docker_holds_one_platform(program: Program, tmp_path: Path) -> None:
    layout = Layout()
    entries = [layout.manifest(LAYERS, architecture=name) for name in ("amd64", "arm64")]
    place = written(tmp_path, layout, layout.index(entries))

    refused = program("copy", "--all", place, "docker-archive:x.tar")
    well(program("copy", "-q", "--platform=linux/arm64", place, "docker-archive:a.tar"))

    assert refused.returncode == 2
    assert not (tmp_path / "x.tar").exists()
    assert well(program("copy", "-q", "docker-archive:a.tar", "oci:out")) == entries[1]["digest"]


@pytest.mark.parametrize("index", [b"{", b'{"schemaVersion": 2, "manifests": []}', None])
def test_another_image_in_an_archive_for_docker_is_not_taken(
    program: Program, tmp_path: Path, index: bytes | None
) -> None:
    other = Layout()
    other.entries = [other.manifest([layer(other=b"o")])]
    members = [
        (name, index if name == "index.json" and index is not None else content)
        for name, content in other.members()
    ]
    (tmp_path / "a.tar").write_bytes(docker_archive(LAYERS, more=members))

    well(program("copy", "-q", "docker-archive:a.tar", "oci:out"))

    config = document(
        tmp_path / "out", document(tmp_path / "out", root_of(tmp_path / "out"))["config"]
    )
    assert config["rootfs"]["diff_ids"] == [f"sha256:{sha(one)}" for one in LAYERS]


def test_one_platform_of_several(program: Program, tmp_path: Path) -> None:
    layout = Layout()
    entries = [layout.manifest(LAYERS, architecture=name) for name in ("amd64", "arm64")]
    place = written(tmp_path, layout, layout.index(entries))

    chosen = well(program("copy", "-q", "--platform=linux/arm64", place, "oci:out"))

    assert chosen == entries[1]["digest"]
    assert program("copy", "--all", "--platform=linux/arm64", place, "oci:x").returncode == 2


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (("--format=oci", "--compression=gzip"), {"toc", "note"}),
        (("--compression=zstd",), {"note"}),
        (("--format=docker",), set()),
    ],
)
def test_annotations_of_layers_follow_what_they_describe(
    program: Program, tmp_path: Path, options: tuple[str, ...], kept: set[str]
) -> None:
    names = {"toc": "containerd.io/snapshot/stargz/toc.digest", "note": "org.example.note"}
    layout = Layout()
    made = layout.manifest(LAYERS)
    value = json.loads(layout.blobs[made["digest"][7:]])
    value["layers"][0]["annotations"] = dict.fromkeys(names.values(), "x")
    place = written(tmp_path, layout, layout.document(value, "manifest"))

    well(program("copy", "-q", *options, place, "oci:out"))

    first = document(tmp_path / "out", root_of(tmp_path / "out"))["layers"][0]
    assert set(first.get("annotations", ())) == {names[name] for name in kept}


def test_a_layer_that_is_not_what_the_config_says_is_refused(
    program: Program, tmp_path: Path
) -> None:
    layout = Layout()
    honest = layout.manifest(LAYERS)
    value = json.loads(layout.blobs[honest["digest"].removeprefix("sha256:")])
    other = gzip.compress(layer(third=b"3"), mtime=0)
    value["layers"][0] = layout.blob(other, f"{OCI_LAYER}+gzip")
    place = written(tmp_path, layout, layout.document(value, "manifest"))

    refused = program("copy", "--compression=zstd", place, "oci:out")

    assert refused.returncode == 1
    assert f"not to sha256:{sha(LAYERS[0])}" in refused.stderr.decode()


def test_an_artefact_is_not_converted(program: Program, tmp_path: Path) -> None:
    layout = Layout()
    value = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}manifest.v1+json",
        "config": layout.blob(b"{}", "text/x"),
        "layers": [layout.blob(b"1", "text/y")],
    }
    artefact = layout.document(value, "manifest")
    place = written(tmp_path, layout, artefact)

    kept = well(program("copy", "-q", "--format=oci", place, "oci:out"))

    assert kept == artefact["digest"]
    for refused in (
        program("copy", "--format=docker", place, "oci:x"),
        program("copy", place, "docker-archive:x.tar"),
    ):
        assert refused.returncode == 1
        assert b"is an artefact" in refused.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--format=docker", "--compression=zstd"),
        ("--format=v1",),
        ("--compression=xz",),
        ("--compression-level=3",),
        ("--compression=gzip", "--compression-level=10"),
        ("--compression=none", "--compression-level=1"),
        ("--referrers",),
    ],
)
def test_what_cannot_be_is_refused(program: Program, source: str, options: tuple[str, ...]) -> None:
    assert program("copy", *options, source, "oci:out").returncode == 2


@needs_skopeo
@pytest.mark.parametrize("form", FORMS)
def test_skopeo_reads_every_form(
    program: Program,
    source: str,
    plain_registry: Registry,
    tmp_path: Path,
    form: tuple[tuple[str, ...], str, str],
) -> None:
    options, _, kind = form
    name = f"docker://{plain_registry.host}/forms/{sha(repr(form).encode())[:12]}:1"
    digest = well(program("copy", "-q", *options, source, name))

    shown = subprocess.run(
        ["skopeo", "inspect", "--raw", "--tls-verify=false", name],
        check=True, capture_output=True, env=peer_environment(tmp_path),
    )  # fmt: skip
    copied = subprocess.run(
        ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false", name, "dir:read"],
        cwd=tmp_path, check=False, capture_output=True, env=peer_environment(tmp_path),
    )  # fmt: skip

    assert f"sha256:{sha(shown.stdout)}" == digest
    assert copied.returncode == 0, copied.stderr.decode()
    manifest = json.loads((tmp_path / "read/manifest.json").read_bytes())
    layers = [(tmp_path / "read" / one["digest"][7:]).read_bytes() for one in manifest["layers"]]
    assert [plain(one, kind) for one in layers] == LAYERS


def _only(kind: str, seen: Seen) -> Answer | None:
    """Refuse manifests that are not of a kind."""
    headers = {name.lower(): value for name, value in seen.headers.items()}
    if seen.method != "PUT" or "/manifests/" not in seen.path:
        return None
    if headers["content-type"].startswith(kind):
        return None
    body = b'{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid"}]}'
    return Answer(415, {"Content-Type": "application/json"}, body)


@pytest.mark.parametrize("own", ["oci", "docker"])
def test_a_registry_of_one_format_gets_it(
    program: Program, source: str, plain_registry: Registry, tmp_path: Path, own: str
) -> None:
    kind = DOCKER if own == "oci" else OCI
    well(program("copy", "-q", f"--format={own}", source, "oci:own"))

    with spoiling(plain_registry.host, lambda seen, _count: _only(kind, seen)) as proxy:
        name = f"docker://{proxy.host}/only/{own}:1"
        refused = program("copy", "--preserve-digests", "oci:own", name)
        forced = program("copy", f"--format={own}", "oci:own", name)
        copied = program("copy", "oci:own", name)

    assert (refused.returncode, forced.returncode) == (1, 1)
    well(copied)
    assert b"media types: converted" in copied.stderr
    well(program("copy", "-q", f"docker://{plain_registry.host}/only/{own}:1", "oci:out"))
    assert root_of(tmp_path / "out")["mediaType"].startswith(kind)


def test_what_refers_to_an_image_comes_along(program: Program, plain_registry: Registry) -> None:
    image = image_of(layer(file=b"signed"))
    host = plain_registry.host
    put(host, image, "signed/x")
    signature = _referring(image.manifest, "application/x-sig")
    put(host, signature, "signed/sig")
    note = _referring(signature.manifest, "application/x-note")
    put(host, note, "signed/note")
    well(program("copy", "-q", f"docker://{host}/signed/sig:1", f"docker://{host}/signed/x:sig"))
    well(program("copy", "-q", f"docker://{host}/signed/note:1", f"docker://{host}/signed/x:note"))

    well(
        program("copy", "--referrers", f"docker://{host}/signed/x:1", f"docker://{host}/moved/x:1")
    )

    for one in (image, signature, note):
        found = program("manifest", "inspect", "--raw", f"{host}/moved/x@{one.digest}")
        assert found.stdout == one.manifest


def _referring(manifest: bytes, kind: str) -> Any:
    subject = {
        "mediaType": f"{OCI}manifest.v1+json",
        "digest": f"sha256:{sha(manifest)}",
        "size": len(manifest),
    }
    return image_of(layer(note=kind.encode()), subject=subject, artifactType=kind)
