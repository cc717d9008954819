"""What stages stand on: nothing, a pinned image, or a named context taken as a file system."""

from builder.dockerfile.naming import CONTEXT_NAME, context_name
from builder.dockerfile.remote import RemoteOptions, download_name, git_of, git_vertex, http_vertex
from builder.dockerfile.request import (
    MAIN_CONTEXT,
    BuildRequest,
    ImageNeed,
    ImagePin,
    NamedContext,
)
from builder.dockerfile.scope import Files, Resolution
from builder.dockerfile.stages import SCRATCH, Graph, Node, named_context
from builder.errors import DockerfileError, UsageError
from builder.graph import ops
from builder.graph.vertex import Input, Selector, Vertex
from builder.oci.config import DEFAULT_PATH, ImageConfig, RunConfig
from builder.oci.platform import Platform
from builder.oci.reference import parse_reference
from builder.source import Span
from builder.text import nearest
from builder.values import NamedTuple

IMAGE_SCHEME = "docker-image://"
_COMMON_IMAGES = ("alpine", "busybox", "centos", "debian", "golang", "ubuntu", "fedora")


class Base(NamedTuple):
    """A file system to begin with, and the config that comes with it."""

    files: Files
    config: ImageConfig
    platform: Platform
    need: ImageNeed | None = None
    """What the image was asked for by; None if it is no image."""
    pin: ImagePin | None = None


def base_of(node: Node, graph: Graph, resolution: Resolution) -> Base | None:
    """Find what a stage without a parent stage stands on; None if it has to be pinned first."""
    request = resolution.request
    platform = node.platform or request.platform
    context = node.context or named_context(request, node.base_name, platform)
    if context is not None:
        if context.kind == "stage":
            raise _later(context, node, graph)
        return _context_base(context, node, platform, resolution)
    if node.base_name == SCRATCH:
        return _scratch_base(node, request)
    return _image_base(image_need(node, platform, graph), resolution)


def image_need(node: Node, platform: Platform, graph: Graph) -> ImageNeed:
    """Name the image that a stage or `--from` means; raise DockerfileError if it is no name."""
    written = node.base_name
    try:
        name = str(parse_reference(written))
    except UsageError as error:
        what = f'failed to parse stage name "{written[:300]}": invalid reference format'
        if written != written.lower():
            what += ": repository name must be lowercase"
        raise DockerfileError(what, fix=error.fix, span=node.span, word=written) from None
    known = (*graph.names(), *_COMMON_IMAGES)
    suggestion = "" if written in known else nearest(written, known) or ""
    return ImageNeed(name, platform, node.span, written, suggestion)


def context_files(context: NamedContext, resolution: Resolution, span: Span | None) -> Files | None:
    """Make the files of a context that is no image; None for images.

    Raises UsageError.
    """
    if context.kind == "directory":
        name = CONTEXT_NAME if context.name == MAIN_CONTEXT else context_name(context.name)
        op = ops.Context(context.name, context.patterns)
        return Files(Vertex(op, name=name, span=span), is_context=True)
    options = RemoteOptions(name=context_name(context.name))
    if context.kind == "http":
        return Files(_unpacked(context, options, resolution, span), is_context=False)
    if context.kind == "git":
        source = git_of(context.location, span)
        if source is None:
            raise UsageError(
                f"context {context.name} is no Git source: {context.location}",
                fix="give a URL that ends in .git",
            )
        return Files(git_vertex(source, options, resolution, span), is_context=False)
    return None


def _unpacked(
    context: NamedContext, options: RemoteOptions, resolution: Resolution, span: Span | None
) -> Vertex:
    """Take a download as a tree: what an archive holds, or the one file."""
    url = context.location
    download = http_vertex(url, options, resolution, span)
    action = ops.Copy(
        1, f"/{download_name(url)}", "/", allow_wildcard=False, unpack="archives", is_context=False
    )
    inputs = (Input(Vertex(ops.Scratch())), Input(download))
    return Vertex(ops.Files((action,)), inputs, name=options.name, span=span)


def empty_config(platform: Platform) -> ImageConfig:
    """Give the config of an image without layers."""
    if platform.os == "windows":
        return ImageConfig(platform, RunConfig(working_dir="\\"))
    return ImageConfig(platform, RunConfig(env=(f"PATH={DEFAULT_PATH}",), working_dir="/"))


def as_root(files: Files, name: str, span: Span) -> Vertex:
    """Turn files that are no image into a file system to stand on: one layer of copies."""
    selectors = (Selector("/"),) if files.is_context else None
    inputs = (Input(Vertex(ops.Scratch())), Input(files.vertex, selectors))
    action = ops.Copy(1, "/", "/", is_context=files.is_context)
    return Vertex(ops.Files((action,)), inputs, name=name, span=span)


def chosen_platform(config: ImageConfig, request: BuildRequest) -> Platform:
    """Decide what the result says it runs on: what was asked for, else what its base says.

    A base's variant and version stay if the request names none and the rest is equal.
    """
    base, asked = config.platform, request.platform
    if not request.is_platform_given:
        return base if base.os else asked
    if base[:2] != asked[:2]:
        return asked
    return Platform(
        asked.os,
        asked.architecture,
        asked.variant or base.variant,
        asked.os_version or base.os_version,
    )


def _scratch_base(node: Node, request: BuildRequest) -> Base:
    files = Files(Vertex(ops.Scratch(), name=SCRATCH, span=node.span), is_context=False)
    return Base(files, empty_config(request.platform), request.platform)


def _context_base(
    context: NamedContext, node: Node, platform: Platform, resolution: Resolution
) -> Base | None:
    if context.location.removeprefix(IMAGE_SCHEME) == SCRATCH and context.kind == "image":
        return _scratch_base(node, resolution.request)
    if context.kind in {"image", "oci-layout"}:
        return _image_base(_context_need(context, node, platform), resolution)
    files = context_files(context, resolution, node.span)
    return None if files is None else Base(files, empty_config(platform), platform)


def _later(context: NamedContext, node: Node, graph: Graph) -> DockerfileError:
    """Make the error of a context that stands for a stage of this file, but not for one above."""
    known = graph.names()
    is_below = context.location.lower() in known
    return DockerfileError(
        f"context {context.name} is the stage {context.location!r}, which this file does not"
        " define above",
        fix="move the stage up" if is_below else f"the stages are {', '.join(known)}",
        span=node.span,
        word=node.base_name if node.context is None else node.name,
    )


def _context_need(context: NamedContext, node: Node, platform: Platform) -> ImageNeed:
    if context.kind == "oci-layout":
        return ImageNeed(context.location, platform, node.span, context.name)
    written = context.location.removeprefix(IMAGE_SCHEME)
    return ImageNeed(str(parse_reference(written)), platform, node.span, written)


def _image_base(need: ImageNeed, resolution: Resolution) -> Base | None:
    pin = resolution.pins.images.get((need.name, need.platform))
    if pin is None:
        resolution.needs.image(need)
        return None
    shown = pin.resolved or need.name
    op: ops.Op = ops.Image(pin.manifest, pin.config.diff_ids, shown)
    if not pin.config.diff_ids:
        op = ops.Scratch()
    vertex = Vertex(op, name=f"FROM {shown}", span=need.span)
    return Base(Files(vertex, is_context=False), pin.config, need.platform, need, pin)
