"""The closed union of operations that a build can do. Values only: nothing here touches the world.

An operation says what to do with its vertex's inputs, which it names by position. Everything that
decides its result is a field, and so is part of its digest; what must not be (secret values, the
content of cache mounts) is not here at all. Paths are inside an image unless said otherwise, as
strings, since they may hold bytes that are not UTF-8 (surrogate escapes).
"""

from typing import Literal

from builder.oci.digest import Digest
from builder.values import NamedTuple


class Image(NamedTuple):
    """The root file system of a pulled or local image, by its layers."""

    manifest: Digest
    diff_ids: tuple[Digest, ...]
    name: str = ""
    """What the user wrote; for display, not part of the key."""


class Scratch(NamedTuple):
    """An empty file system."""


class Context(NamedTuple):
    """A directory tree of the client: the build context or a named one, after its ignore file."""

    name: str
    patterns: tuple[str, ...] = ()
    """The cleaned patterns of the ignore file, in order."""


class Http(NamedTuple):
    """One file from a URL, already resolved to the digest of its content."""

    url: str
    filename: str
    digest: Digest
    mtime_s: int = 0
    mode_bits: int = 0o600


class Git(NamedTuple):
    """A checkout of one commit."""

    url: str
    commit: str
    subdir: str = ""
    keep_git_dir: bool = False
    submodules: bool = True
    ref: str = ""
    """What led to the commit, and is fetched; not part of the key."""
    has_commit_times: bool = False
    """Files get the time of the commit."""


class BindMount(NamedTuple):
    """Part of an input (by position) shown at `target`."""

    target: str
    input: int
    source: str = "/"
    is_writable: bool = False


class CacheMount(NamedTuple):
    """A directory kept between builds; never in a key beyond these fields."""

    target: str
    id: str
    sharing: Literal["shared", "private", "locked"] = "shared"
    input: int | None = None
    source: str = "/"
    mode_bits: int = 0o755
    uid: int = 0
    gid: int = 0
    is_read_only: bool = False


class TmpfsMount(NamedTuple):
    """An empty memory file system; size in bytes, 0 for no limit of its own."""

    target: str
    size_bytes: int = 0


class SecretMount(NamedTuple):
    """A secret by id, as a file and/or an environment variable (empty string: not so)."""

    id: str
    target: str = ""
    env: str = ""
    is_required: bool = False
    mode_bits: int = 0o400
    uid: int = 0
    gid: int = 0


class SshMount(NamedTuple):
    """The client's SSH agent, forwarded to a socket."""

    id: str
    target: str
    is_required: bool = False
    mode_bits: int = 0o600
    uid: int = 0
    gid: int = 0


class ScriptMount(NamedTuple):
    """A here-document with a shebang, shown as an executable file on a read-only mount."""

    target: str
    content: str


Mount = BindMount | CacheMount | TmpfsMount | SecretMount | SshMount | ScriptMount


class Ulimit(NamedTuple):
    """One resource limit, soft and hard; -1 for unlimited."""

    name: str
    soft: int
    hard: int


Network = Literal["default", "none", "host"]
Security = Literal["sandbox", "insecure"]


class Exec(NamedTuple):
    """Run a process on the root that is input 0; further inputs are sources of mounts."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str = "/"
    user: str = ""
    mounts: tuple[Mount, ...] = ()
    network: Network = "default"
    security: Security = "sandbox"
    hostname: str = "buildkitsandbox"
    extra_hosts: tuple[tuple[str, str], ...] = ()
    """(name, address); only the names are part of the key."""
    shm_size_bytes: int = 64 << 20
    ulimits: tuple[Ulimit, ...] = ()
    devices: tuple[str, ...] = ()
    cgroup_parent: str = ""
    """Not part of the key."""
    proxy_env: tuple[str, ...] = ()
    """Predefined proxy arguments that were given; not part of the key."""


class Owner(NamedTuple):
    """`--chown`: names or numbers as written, resolved in the destination's /etc/passwd."""

    user: str
    group: str | None = None
    """None when no colon was written."""


Unpack = Literal["never", "archives"]


class Copy(NamedTuple):
    """Copy one source path (may hold wildcards) of an input to a destination.

    `dest` is absolute; a trailing slash makes it a directory.
    """

    input: int
    source: str
    dest: str
    owner: Owner | None = None
    chmod: str = ""
    """Octal digits or a symbolic expression; empty leaves modes alone."""
    allow_wildcard: bool = True
    parents: bool = False
    exclude: tuple[str, ...] = ()
    unpack: Unpack = "never"
    """`archives` is ADD's rule: tar archives, recognised by content, are extracted."""
    is_context: bool = True
    """From a client directory: owners become 0:0 and extended attributes are dropped."""
    dest_is_directory: bool = False
    """More than one source was given: still the reference's overwrite rule without a slash."""
    is_required: bool = True
    """False for wildcard patterns, which may match nothing."""


class Mkdir(NamedTuple):
    """Make a directory and its missing parents, 0755, owned by `owner` (default 0:0)."""

    path: str
    owner: Owner | None = None
    mode_bits: int = 0o755


class Write(NamedTuple):
    """Write a small file: a here-document of COPY or ADD."""

    content: str
    filename: str
    dest: str
    owner: Owner | None = None
    chmod: str = ""


Action = Copy | Mkdir | Write


class Files(NamedTuple):
    """Do file actions, in order, on the root that is input 0; one layer results."""

    actions: tuple[Action, ...]
    is_strict: bool = False
    """What is warned of otherwise is an error; part of the key only then."""


class Merge(NamedTuple):
    """Stack the layer that is input 1, built on nothing, over the root that is input 0."""


Op = Image | Scratch | Context | Http | Git | Exec | Files | Merge
