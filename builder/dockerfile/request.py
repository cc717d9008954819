"""What a build was asked for, and what the outside resolved for it: the inputs of lowering.

Lowering does no I/O. What it cannot know (an image's config, a download's digest, a branch's
commit) it names in `Needs`; the engine resolves these to `Pins` and lowers again.
"""

from collections.abc import Mapping
from typing import Literal

from builder.graph.ops import Network, Ulimit
from builder.oci.config import ImageConfig
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.source import Span
from builder.values import NamedTuple

MAIN_CONTEXT = "context"

ContextKind = Literal["directory", "image", "oci-layout", "git", "http", "stage"]


class NamedContext(NamedTuple):
    """A source of files with a name: the build context, or one given by `--build-context`."""

    name: str
    kind: ContextKind = "directory"
    location: str = ""
    """A reference, an `oci-layout://` or another URL, a stage's name; a directory's place is the
    engine's."""
    patterns: tuple[str, ...] = ()
    """The cleaned lines of a directory's own ignore file."""


class BuildRequest(NamedTuple):
    """Everything on the command line that decides the graph or the image, for one platform."""

    platform: Platform
    build_platform: Platform
    is_platform_given: bool = False
    """`--platform` was written: the image says so, whatever its base says."""
    is_multi_platform: bool = False
    target: str = ""
    build_args: tuple[tuple[str, str], ...] = ()
    """The last one of a name counts; the predefined proxies and control arguments are here too."""
    labels: tuple[tuple[str, str], ...] = ()
    context: NamedContext = NamedContext(MAIN_CONTEXT)
    contexts: tuple[NamedContext, ...] = ()
    context_epoch_s: int | None = None
    """The time of a main context that has one (a commit), for `SOURCE_DATE_EPOCH=context`."""
    network: Network = "default"
    entitlements: tuple[str, ...] = ()
    """Granted by `--allow`: `network.host`, `security.insecure`, `device`, `device=NAME`."""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    shm_size_bytes: int = 64 << 20
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str = ""
    hostname: str = ""
    devices: tuple[str, ...] = ()
    is_ignoring_cache: bool = False
    ignoring_cache_for: tuple[str, ...] = ()
    """Stage names given by `--no-cache-filter`."""
    is_strict: bool = False
    """`--strict`: what is silently accepted otherwise is an error."""


class ImagePin(NamedTuple):
    """An image as found: the manifest for one platform, and its config."""

    manifest: Digest
    config: ImageConfig
    resolved: str = ""
    """The full name with the digest that it was found by, for display."""


class HttpPin(NamedTuple):
    """A download as found."""

    digest: Digest
    mtime_s: int = 0
    """Last-Modified; 0 if the server did not say."""


class GitPin(NamedTuple):
    """The commit that a ref stands for, with its committer's time if that was asked for."""

    commit: str
    committed_s: int | None = None


class Pins(NamedTuple):
    """What the outside resolved so far, under the keys of the needs."""

    images: Mapping[tuple[str, Platform], ImagePin] = {}
    urls: Mapping[str, HttpPin] = {}
    gits: Mapping[tuple[str, str], GitPin] = {}


class ImageNeed(NamedTuple):
    """An image to resolve; pinned under (name, platform)."""

    name: str
    """A full reference, or the `oci-layout://` location of a named context."""
    platform: Platform
    span: Span | None = None
    written: str = ""
    """The name as the user wrote it."""
    suggestion: str = ""
    """A stage or common image of nearly the same name, for the error if there is no such image."""


class HttpNeed(NamedTuple):
    """A URL to fetch; pinned under its text."""

    url: str
    checksum: Digest | None = None
    span: Span | None = None


class GitNeed(NamedTuple):
    """A ref to resolve; pinned under (remote, ref), an empty ref being the default branch."""

    remote: str
    ref: str = ""
    checksum: str = ""
    """The beginning of the commit that is expected."""
    span: Span | None = None
    wants_time: bool = False
    """Whether the committer's time is needed too."""


class Needs(NamedTuple):
    """What is missing, each once; independent of each other, so all may be resolved at once."""

    images: tuple[ImageNeed, ...] = ()
    urls: tuple[HttpNeed, ...] = ()
    gits: tuple[GitNeed, ...] = ()


def build_arg(request: BuildRequest, name: str) -> str | None:
    """Find the value given for a build argument; None if it was not given."""
    found = None
    for key, value in request.build_args:
        if key == name:
            found = value
    return found
