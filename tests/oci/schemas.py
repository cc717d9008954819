"""Our own schemas of the OCI image-spec's documents, written from its text."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SCHEMAS = Path(__file__).resolve().parent.parent.parent / "fixtures/image-spec"
INDEXES = {
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
}
MANIFESTS = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
}
CONFIGS = {
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
}


@cache
def _validator(name: str) -> Any:
    jsonschema = pytest.importorskip("jsonschema")
    referencing = pytest.importorskip("referencing")
    known = [json.loads(path.read_text()) for path in sorted(SCHEMAS.glob("*.json"))]
    resources = [(schema["$id"], referencing.Resource.from_contents(schema)) for schema in known]
    registry = referencing.Registry().with_resources(resources)
    [schema] = [one for one in known if one["$id"] == f"{name}.json"]
    kind = jsonschema.Draft202012Validator
    kind.check_schema(schema)
    return kind(schema, registry=registry, format_checker=kind.FORMAT_CHECKER)


def complaints(name: str, document: object) -> list[str]:
    """List what is wrong with a document by the schema of a name."""
    found = _validator(name).iter_errors(document)
    return [f"{name}: {error.json_path}: {error.message}" for error in found]


def check_layout(directory: Path) -> int:
    """Check every document of an OCI layout; give how many there are."""
    wrong = complaints("layout", json.loads((directory / "oci-layout").read_bytes()))
    index = json.loads((directory / "index.json").read_bytes())
    wrong += complaints("index", index)
    pending, seen = list(index["manifests"]), set()
    while pending:
        descriptor = pending.pop()
        kind = _kind(descriptor["mediaType"])
        path = directory / "blobs" / descriptor["digest"].replace(":", "/")
        if kind is None or descriptor["digest"] in seen or not path.exists():
            continue
        seen.add(descriptor["digest"])
        document = json.loads(path.read_bytes())
        wrong += complaints(kind, document)
        if kind != "config":
            pending += document.get("manifests", ())
            pending += [document["config"], *document["layers"]] if kind == "manifest" else []
    assert wrong == []
    return len(seen)


def _kind(media_type: str) -> str | None:
    kinds = {"index": INDEXES, "manifest": MANIFESTS, "config": CONFIGS}
    return next((kind for kind, types in kinds.items() if media_type in types), None)
