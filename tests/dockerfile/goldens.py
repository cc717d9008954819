"""What belongs into each case's directory: the tree, and the graph or the error, as text.

A case may hold a file `request` with lines like options of `build`: `target=test`.
"""

from collections.abc import Iterator
from pathlib import Path

from builder.dockerfile.lower import Lowered
from builder.dockerfile.parser import parse
from builder.dockerfile.request import BuildRequest, NamedContext
from builder.errors import BuilderError, DockerfileError, render
from builder.graph.vertex import Vertex
from builder.graph.walk import render_text, topological
from builder.oci.config import RunConfig, run_config_json
from builder.oci.platform import parse_platform
from builder.source import Source
from tests.dockerfile.builds import PATH, REQUEST, lowered
from tests.dockerfile.rendering import tree

CASES = Path(__file__).parents[2] / "fixtures" / "dockerfiles"
IMAGES = {"triggers": RunConfig(env=(PATH,), on_build=("WORKDIR /on", "RUN --network=none fire"))}
CONTEXTS = (NamedContext("extra", "directory"), NamedContext("repo", "git", "https://x/y.git"))


def cases() -> list[Path]:
    """List the directories of all cases."""
    return sorted(CASES.iterdir())


def goldens(case: Path) -> dict[str, str]:
    """Parse and lower a case's Dockerfile; say what each of its golden files should hold."""
    content = (case / "Dockerfile").read_bytes()
    source = Source("Dockerfile", content.decode("utf-8", "surrogateescape"))
    try:
        parsed_tree = tree(parse(source))
    except DockerfileError as error:
        return {"error.txt": f"{render(error)}\n"}
    try:
        result = lowered(source.text, _request(case / "request"), IMAGES)
    except BuilderError as error:
        return {"tree.txt": parsed_tree, "error.txt": f"{render(error)}\n"}
    return {"tree.txt": parsed_tree, "graph.txt": "".join(f"{line}\n" for line in _lines(result))}


def _request(path: Path) -> BuildRequest:
    request = REQUEST._replace(contexts=CONTEXTS)
    for line in path.read_text().splitlines() if path.exists() else ():
        name, _, value = line.partition("=")
        match name:
            case "platform":
                request = request._replace(platform=parse_platform(value), is_platform_given=True)
            case "target":
                request = request._replace(target=value)
            case "allow":
                request = request._replace(entitlements=(*request.entitlements, value))
            case "build-arg":
                key, _, text = value.partition("=")
                request = request._replace(build_args=(*request.build_args, (key, text)))
            case _:
                raise AssertionError(f"{path}: {name} is no option of a case")
    return request


def _lines(result: Lowered) -> Iterator[str]:
    yield from render_text([result.root]).splitlines()
    yield ""
    for vertex in topological([result.root]):
        yield from _operation(vertex)
    yield ""
    for entry in result.config.history:
        yield f"{'      ' if entry.is_empty_layer else 'layer '}{entry.created_by!r}"
    yield ""
    yield from (f"{name}: {value}" for name, value in run_config_json(result.config.config).items())
    if result.warnings:
        yield ""
        yield from map(str, result.warnings)


def _operation(vertex: Vertex) -> Iterator[str]:
    yield vertex.name
    for name, value in vertex.op._asdict().items():
        if value == vertex.op._field_defaults.get(name) or name in ("manifest", "diff_ids"):
            continue
        if isinstance(value, tuple) and name in ("actions", "mounts"):
            yield from (f"  {item}" for item in value)
        else:
            yield f"  {name}: {value!r}"
