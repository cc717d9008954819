"""Layers of unusual types: foreign ones keep their URLs, seekable ones are read as plain."""

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import pyzstd

from tests.engine.archives import config_of, layer, sha
from tests.registry import servers
from tests.registry.conftest import need_registry
from tests.registry.servers import MANIFEST, Answer, Image, Registry, Seen, serving
from tests.registry.test_commands import Program, program, well

__all__ = ["program"]
pytestmark = pytest.mark.namespaces
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
SKIPPABLE = 0x184D2A50


def image_with(blob: bytes, plain: bytes, kind: str, **more: object) -> Image:
    """Make an image of one layer in any form; `more` goes into the layer's descriptor."""
    config = config_of([plain])
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": f"sha256:{sha(config)}",
            "size": len(config),
        },
        "layers": [{"mediaType": kind, "digest": f"sha256:{sha(blob)}", "size": len(blob), **more}],
    }
    blobs = {f"sha256:{sha(one)}": one for one in (blob, config)}
    return Image(json.dumps(document).encode(), blobs)


@pytest.fixture
def lenient_registry(tmp_path: Path) -> Iterator[Registry]:
    """Run a registry that takes manifests with URLs."""
    need_registry()
    directory = tmp_path / "registry"
    directory.mkdir()
    allowed = "validation: {manifests: {urls: {allow: ['.*']}}}\n"
    with servers.registry(directory, more=allowed) as running:
        yield running


@pytest.mark.parametrize("kind", [NONDISTRIBUTABLE, FOREIGN])
def test_a_foreign_layer_keeps_its_type_and_urls(
    program: Program, lenient_registry: Registry, tmp_path: Path, kind: str
) -> None:
    plain = layer(file=b"foreign")
    blob = gzip.compress(plain, mtime=0) if kind == FOREIGN else plain
    asked: list[str] = []

    def elsewhere(seen: Seen) -> Answer | None:
        asked.append(seen.path)
        return Answer(200, {}, blob) if seen.path == "/layer" else None

    with serving(elsewhere) as far:
        image = image_with(
            blob, plain, kind, urls=[f"http://{far.host}/{name}" for name in ("gone", "layer")]
        )
        local = Image(image.manifest, {k: v for k, v in image.blobs.items() if v != blob})
        with serving(local.script) as near:
            name, to = f"{near.host}/a/b:1", f"docker://{lenient_registry.host}/a/b:1"
            well(program("pull", "-q", name))
            well(program("push", "-q", name, to))
            well(program("copy", f"docker://{name}", f"oci:{tmp_path}/layout:1"))
            copied = well(program("copy", f"oci:{tmp_path}/layout:1", f"dir:{tmp_path}/dir"))
        shown = program("manifest", "inspect", to.removeprefix("docker://"))
        out = tmp_path / "out"
        (tmp_path / "Dockerfile").write_text(f"FROM {to.removeprefix('docker://')}\n")
        well(program("build", "-o", str(out), str(tmp_path), BUILDER_ROOT=str(tmp_path / "second")))

    assert copied == image.digest
    assert (tmp_path / "dir/manifest.json").read_bytes() == image.manifest
    assert json.loads(shown.stdout)["layers"] == json.loads(image.manifest)["layers"]
    assert (out / "file").read_bytes() == b"foreign"
    assert set(asked) == {"/gone", "/layer"}


def stargz(plain: bytes, index: bytes) -> tuple[bytes, bytes]:
    """Give an eStargz blob of an archive, each part its own gzip member, and its plain bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("stargz.index.json")
        entry.size = len(index)
        archive.addfile(entry, io.BytesIO(index))
    files, end = plain[: -tarfile.RECORDSIZE], out.getvalue()
    parts = [files[at : at + 512] for at in range(0, len(files), 512)]
    blob = b"".join(gzip.compress(part, mtime=0) for part in [*parts, end])
    subfield = b"SG" + struct.pack("<H", 22) + b"%016xSTARGZ" % (len(blob) - 10)
    header = b"\x1f\x8b\x08\x04" + b"\0" * 5 + b"\xff" + struct.pack("<H", len(subfield)) + subfield
    footer = header + b"\x01\0\0\xff\xff" + b"\0" * 8
    return blob + footer, files + end


def chunked(plain: bytes) -> bytes:
    """Give a zstd:chunked blob: frames, then manifest and footer in frames to be skipped."""
    half = len(plain) // 2
    frames = [pyzstd.compress(part) for part in (plain[:half], plain[half:])]
    table = pyzstd.compress(b'{"version":1,"entries":[]}')
    hidden = [struct.pack("<II", SKIPPABLE, len(one)) + one for one in (table, b"\0" * 64)]
    return b"".join(frames + hidden)


def unpadded(**files: bytes) -> bytes:
    """Make an archive that ends in just one record of zeros."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        size = out.tell()
    return out.getvalue()[:size] + b"\0" * tarfile.RECORDSIZE


@pytest.mark.parametrize("form", ["stargz", "chunked"])
def test_seekable_layers_are_read_as_plain_ones(
    program: Program, tmp_path: Path, form: str
) -> None:
    plain = unpadded(file=b"content" * 500, other=b"x")
    if form == "stargz":
        blob, plain = stargz(plain, b'{"version":1,"entries":[]}')
        kind = "application/vnd.oci.image.layer.v1.tar+gzip"
        notes = {"containerd.io/snapshot/stargz/toc.digest": f"sha256:{'0' * 64}"}
    else:
        blob = chunked(plain)
        kind = "application/vnd.oci.image.layer.v1.tar+zstd"
        notes = {"io.github.containers.zstd-chunked.manifest-position": "1:2:3:1"}
    image = image_with(blob, plain, kind, annotations=notes)
    out = tmp_path / "out"
    with serving(image.script) as server:
        name = f"{server.host}/seekable/x:1"
        (tmp_path / "Dockerfile").write_text(f"FROM {name}\n")
        well(program("build", "-o", str(out), str(tmp_path)))
        well(program("pull", "-q", name))
        kept = well(program("copy", name, f"dir:{tmp_path}/dir"))

    assert (out / "file").read_bytes() == b"content" * 500
    assert (out / "other").read_bytes() == b"x"
    assert kept == image.digest
    assert (tmp_path / "dir/manifest.json").read_bytes() == image.manifest
