"""Lowering in tests: a text in, a graph out, with images that exist only as values."""

from collections.abc import Mapping
from functools import cache
from tempfile import TemporaryDirectory

from builder.dockerfile.lower import Checked, Lowered, lint, lower
from builder.dockerfile.parser import Dockerfile, parse
from builder.dockerfile.request import (
    BuildRequest,
    GitPin,
    HttpPin,
    ImagePin,
    Needs,
    Pins,
)
from builder.graph.vertex import Vertex
from builder.graph.walk import topological
from builder.oci.config import History, ImageConfig, RunConfig
from builder.oci.digest import digest_of
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.source import Source

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
REQUEST = BuildRequest(AMD64, AMD64)
BARE = RunConfig()
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYER = digest_of(b"layer")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def image(name: str, run: RunConfig = BARE, platform: Platform = AMD64) -> ImagePin:
    """An image with one layer; its name decides its identity."""
    config = ImageConfig(platform, run, (digest_of(name.encode()),), (History(created_by="base"),))
    manifest = digest_of(f"{name} {platform}".encode())
    tagged = parse_reference(name)._replace(digest=manifest)
    return ImagePin(manifest, config, str(tagged))


def parsed(text: str) -> Dockerfile:
    return parse(Source("Dockerfile", text), cache_dir=_parser_cache().name)


@cache
def _parser_cache() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


def lowered(
    text: str, request: BuildRequest = REQUEST, images: Mapping[str, RunConfig] | None = None
) -> Lowered:
    """Lower a text; whatever it needs is made up, images with the given configs."""
    result = lower_with(parsed(text), request, images or {})
    assert isinstance(result, Lowered)
    return result


def checked(text: str, request: BuildRequest = REQUEST) -> Checked:
    """Check a text, all stages of it."""
    dockerfile, pins = parsed(text), Pins()
    while isinstance(result := lint(dockerfile, request, pins), Needs):
        pins = resolved(result, pins, {})
    return result


def rules(text: str, request: BuildRequest = REQUEST) -> list[tuple[str, int]]:
    """The rules that a text breaks, each with its line."""
    return [(w.rule, w.span.start.line) for w in checked(text, request).warnings]


def lower_with(
    dockerfile: Dockerfile, request: BuildRequest, images: Mapping[str, RunConfig]
) -> Lowered:
    pins = Pins()
    for _round in range(10):
        result = lower(dockerfile, request, pins)
        if isinstance(result, Lowered):
            return result
        pins = resolved(result, pins, images)
    raise AssertionError("lowering does not end")


def resolved(needs: Needs, pins: Pins, images: Mapping[str, RunConfig]) -> Pins:
    """Answer needs from thin air."""
    found = {(n.name, n.platform): _found(n.written, n.platform, images) for n in needs.images}
    return Pins(
        {**pins.images, **found},
        {**pins.urls, **{n.url: HttpPin(digest_of(n.url.encode()), 7) for n in needs.urls}},
        {**pins.gits, **{(n.remote, n.ref): GitPin(COMMIT, 11) for n in needs.gits}},
    )


def created_by(result: Lowered) -> list[str]:
    """The texts of the history above the base image's."""
    old = len(result.base.config.history) if result.base else 0
    return [entry.created_by for entry in result.config.history[old:]]


def steps(result: Lowered) -> list[str]:
    """The names of all vertices, inputs first."""
    return [vertex.name for vertex in topological([result.root])]


def named(result: Lowered, text: str) -> Vertex:
    """The one vertex whose name holds a text."""
    [vertex] = [v for v in topological([result.root]) if text in v.name]
    return vertex


def _found(name: str, platform: Platform, images: Mapping[str, RunConfig]) -> ImagePin:
    return image(name, images.get(name, RunConfig(env=(PATH,))), platform)
