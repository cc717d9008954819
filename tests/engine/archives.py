"""Image archives as other tools and people with bad intentions write them."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

Member = tuple[str, bytes | str]
"""A name, and content (bytes) or the target of a symbolic link (str)."""

OCI = "application/vnd.oci.image."


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar_of(members: Sequence[Member], *, hardlinks: Mapping[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        for name, target in (hardlinks or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.LNKTYPE, target
            tar.addfile(info)
    return out.getvalue()


def layer(**files: bytes) -> bytes:
    return tar_of(list(files.items()))


def config_of(layers: Sequence[bytes], **extra: Any) -> bytes:
    """Write a config for plain layers."""
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2020-01-01T00:00:00Z",
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(one)}" for one in layers]},
            **extra,
        }
    ).encode()


def docker_archive(
    layers: Sequence[bytes],
    *,
    tags: Sequence[str] | None = ("example:1",),
    config: bytes | None = None,
    manifest: object = None,
    more: Sequence[Member] = (),
) -> bytes:
    content = config_of(layers) if config is None else config
    names = [f"{sha(one)}/layer.tar" for one in layers]
    listed = manifest or [{"Config": f"{sha(content)}.json", "RepoTags": tags, "Layers": names}]
    return tar_of(
        [
            *more,
            *dict(zip(names, layers, strict=True)).items(),
            (f"{sha(content)}.json", content),
            ("manifest.json", json.dumps(listed).encode()),
        ]
    )


class Layout:
    """An OCI layout in the making."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.entries: list[dict[str, Any]] = []

    def blob(self, content: bytes, media_type: str, **extra: Any) -> dict[str, Any]:
        self.blobs[sha(content)] = content
        return {
            "mediaType": media_type,
            "digest": f"sha256:{sha(content)}",
            "size": len(content),
            **extra,
        }

    def document(self, value: object, kind: str, **extra: Any) -> dict[str, Any]:
        return self.blob(json.dumps(value).encode(), f"{OCI}{kind}.v1+json", **extra)

    def manifest(
        self, layers: Sequence[bytes], *, architecture: str = "amd64", is_packed: bool = True
    ) -> dict[str, Any]:
        """Add an image; return its descriptor."""
        config = config_of(layers, architecture=architecture)
        suffix = "+gzip" if is_packed else ""
        described = [
            self.blob(
                gzip.compress(one, mtime=0) if is_packed else one, f"{OCI}layer.v1.tar{suffix}"
            )
            for one in layers
        ]
        value = {
            "schemaVersion": 2,
            "mediaType": f"{OCI}manifest.v1+json",
            "config": self.blob(config, f"{OCI}config.v1+json"),
            "layers": described,
        }
        platform = {"architecture": architecture, "os": "linux"}
        return self.document(value, "manifest", platform=platform)

    def index(self, manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return self.document({"schemaVersion": 2, "manifests": list(manifests)}, "index")

    def name(self, descriptor: dict[str, Any], name: str) -> None:
        annotations = {"io.containerd.image.name": name}
        self.entries.append({**descriptor, "annotations": annotations})

    def members(self) -> list[Member]:
        index = {"schemaVersion": 2, "manifests": self.entries}
        return [
            *((f"blobs/sha256/{name}", content) for name, content in self.blobs.items()),
            ("index.json", json.dumps(index).encode()),
            ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
        ]

    def archive(self) -> bytes:
        return tar_of(self.members())
