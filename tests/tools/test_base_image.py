"""tools/base-image: an archive that is a valid OCI layout, the same each time."""

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def files_of(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {m.name: opened.read() for m in tar if (opened := tar.extractfile(m)) is not None}


def test_busybox_is_an_oci_archive_whose_digests_agree(busybox_archive: Path) -> None:
    files = files_of(busybox_archive)

    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/sha256/{hashlib.sha256(content).hexdigest()}"
    blob = {name.rpartition("/")[2]: content for name, content in files.items()}
    [listed] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob[listed["digest"].removeprefix("sha256:")])
    config = json.loads(blob[manifest["config"]["digest"].removeprefix("sha256:")])
    [layer] = manifest["layers"]
    plain = gzip.decompress(blob[layer["digest"].removeprefix("sha256:")])
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(plain).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert tar.getmember("bin/sh").linkname == "bin/busybox"
        assert tar.getmember("tmp").mode == 0o1777


def test_it_is_reproducible(busybox_archive: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar"

    subprocess.run([sys.executable, REPOSITORY / "tools/base-image", "busybox", again], check=True)

    assert again.read_bytes() == busybox_archive.read_bytes()


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, REPOSITORY / "tools/base-image", "busybox", tmp_path / "no/such.tar"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
