"""Small images for the exporters' tests."""

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

from builder.errors import NotFound
from builder.exporters.result import ImageResult
from builder.oci import media
from builder.oci.config import ImageConfig, RunConfig
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest, digest_of, hex_of
from builder.oci.layer import Layer
from builder.oci.platform import Platform

AMD64 = Platform("linux", "amd64")


class Files:
    """Blobs as files of a directory: the least that the exporters need of a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, content: bytes) -> Digest:
        digest = digest_of(content)
        (self.folder / hex_of(digest)).write_bytes(content)
        return digest

    def open(self, digest: Digest) -> int:
        try:
            return os.open(self.folder / hex_of(digest), os.O_RDONLY)
        except FileNotFoundError:
            raise NotFound(str(digest)) from None

    def is_as_written(self, digest: Digest, fd: int) -> bool:
        del digest, fd
        return False


def layer_tar(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1_600_000_000
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def gzip_layer(files: Files, plain: bytes) -> Layer:
    packed = gzip.compress(plain, mtime=0)
    diff_id = Digest("sha256:" + hashlib.sha256(plain).hexdigest())
    return Layer(diff_id, Descriptor(media.LAYER_GZIP, files.put(packed), len(packed)))


def image_of(*layers: Layer, platform: Platform = AMD64) -> ImageResult:
    config = ImageConfig(
        platform,
        RunConfig(env=("PATH=/bin",), cmd=("sh",)),
        tuple(layer.diff_id for layer in layers),
        created="2020-01-01T00:00:00Z",
    )
    return ImageResult(platform, config, layers)
