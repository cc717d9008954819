"""What a build came to: all that must be the same however much of it came from the cache."""

import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

from tests.end_to_end.random_builds import Project
from tests.end_to_end.site import Built, Site

MAY_RUN = ("FROM ",)
"""Steps that are not looked up in the cache: they only name an image."""


class Outcome(NamedTuple):
    """A build's result, or how it failed; and the steps that did not come from the cache."""

    result: object
    ran: tuple[str, ...]
    has_failed: bool


def outcome(site: Site, project: Project, context: Path, *options: str) -> Outcome:
    """Build a project as a tree and as an image, and read both."""
    path = site.directory / "Dockerfile"
    path.write_text(project.dockerfile)
    root, image = site.directory / "root.tar", site.directory / "image.tar"
    done = site._program(
        "build", "--progress=plain", f"--file={path}", f"--output=type=tar,dest={root}",
        f"--output=type=oci,dest={image}", *options, str(context),
    )  # fmt: skip
    built = Built(done.returncode, done.stdout.decode(), done.stderr.decode())
    ran = tuple(
        step
        for step, is_cached in built.steps.items()
        if not is_cached and not step.startswith(MAY_RUN)
    )
    if built.status != 0:
        assert built.status == 1, built.stderr
        return Outcome(_failure(built), ran, has_failed=True)
    return Outcome((tree(root), *image_of(image)), ran, has_failed=False)


def _failure(built: Built) -> list[str]:
    """Give the sentence and the remedy: the log before them depends on what had to run."""
    return [line for line in built.stderr.splitlines() if line.startswith(("error:", "  fix:"))]


def tree(path: Path) -> list[object]:
    """Read an archive: all of its entries but their times."""
    with tarfile.open(path, errors="surrogateescape") as archive:
        return [
            (e.name, e.type, e.mode, e.uid, e.gid, e.linkname, _content(archive, e))
            for e in archive
        ]


def image_of(path: Path) -> tuple[object, ...]:
    """Read an image: its configuration, its history, and how many layers it has."""
    with tarfile.open(path) as archive:
        files = {e.name: _content(archive, e) for e in archive}
    [found] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(files[_blob(found)])
    config: dict[str, Any] = json.loads(files[_blob(manifest["config"])])
    history = [(h.get("created_by"), h.get("empty_layer")) for h in config["history"]]
    layers = len(config["rootfs"]["diff_ids"] or ())
    return config["config"], config.get("author"), history, layers, len(manifest["layers"])


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    reader = archive.extractfile(entry) if entry.isreg() else None
    return b"" if reader is None else reader.read()


def _blob(descriptor: dict[str, str]) -> str:
    return f"blobs/{descriptor['digest'].replace(':', '/')}"
