"""What a build is asked to do, read and checked, but with nothing opened yet."""

from typing import Literal

from builder.engine.watched import Watched
from builder.exporters.output import Output
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.values import NamedTuple

Call = Literal["build", "check", "outline", "targets"]
Explain = Literal["", "text", "json"]
STDIN = "-"


class Secret(NamedTuple):
    """A secret by its ID, from a file of the host or a variable of the caller's environment."""

    id: str
    path: str | None = None
    variable: str | None = None


class Agent(NamedTuple):
    """An SSH agent socket, or private keys, by ID; neither means the caller's SSH_AUTH_SOCK."""

    id: str
    paths: tuple[str, ...] = ()


class Ulimit(NamedTuple):
    """A resource limit; -1 is unlimited."""

    name: str
    soft: int
    hard: int


class BuildRequest(NamedTuple):
    """All options of one build. Pairs keep the order in which they were given."""

    context: str
    """A directory, an archive, a URL, or `-` for standard input."""
    dockerfile: str | None = None
    """A path on the host (inside the context if that is no directory); `-` is standard input."""
    target: str | None = None
    tags: tuple[str, ...] = ()
    build_args: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    contexts: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    agents: tuple[Agent, ...] = ()
    platforms: tuple[Platform, ...] = ()
    outputs: tuple[Output, ...] = ()
    annotations: tuple[str, ...] = ()
    add_hosts: tuple[tuple[str, str], ...] = ()
    network: str = "default"
    entitlements: tuple[str, ...] = ()
    shm_size_bytes: int | None = None
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    options: tuple[tuple[str, str], ...] = ()
    """Free options of the front end: `hostname`, `build-arg:K`, …"""
    is_cache_ignored: bool = False
    ignored_stages: tuple[str, ...] = ()
    is_pulling: bool = False
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    call: Call = "build"
    explain: Explain = ""
    is_strict: bool = False
    is_squashed: bool = False
    is_locked: bool = False
    """Whether what the lock beside the Dockerfile does not pin is refused."""
    is_offline: bool = False
    """Whether bases, URLs and repositories come only from what is here."""
    is_call_json: bool = False
    """Whether a call other than `build` answers in JSON."""

    @property
    def wants_inline_cache(self) -> bool:
        """Whether the image is to carry its cache: by `--cache-to`, or the reference's argument."""
        argument = dict(self.build_args).get("BUILDKIT_INLINE_CACHE", "")
        return argument.lower() in {"1", "t", "true"} or any(
            "type=inline" in text.split(",") for text in self.cache_to
        )


class Built(NamedTuple):
    """What came of a build: identities of the result, and texts for the user.

    `digest` names the manifest, or the index of several platforms; `image_id` the configuration.
    Both are None where no image was made.
    """

    digest: Digest | None = None
    image_id: Digest | None = None
    names: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    report: str = ""
    """What `check`, `outline`, `targets` or `explain` have to say; for standard output."""
    status: int = 0
    steps: tuple[str, ...] = ()
    """The names of the graph's steps, inputs first."""
    note: str = ""
    """Why the first step that ran did so, in one line; for standard error."""
    descriptor: Descriptor | None = None
    """The manifest or index with its type and size."""
    watched: Watched | None = None
    """What decides whether the same request would give the same again; None: more than files."""
