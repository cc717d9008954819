"""The layout of the state directory. Names below come from here and from digests, never from users.

lock  builder.db  content/{oci-layout,index.json,blobs/sha256/<hex>}  ingest/  leases/
snapshots/<id>/{diff,work}  cache-mounts/<hash>/  containers/<id>/  volumes/<name>/  lists/<hash>
trash/  tmp/
"""

import os
from stat import S_IMODE, S_ISDIR

from builder.errors import StoreError
from builder.oci.digest import Digest, hex_of
from builder.store import atomic
from builder.store.failure import translated

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_DIRECTORIES = (
    "content", "content/blobs", "content/blobs/sha256", "ingest", "leases", "snapshots",
    "cache-mounts", "containers", "volumes", "lists", "trash", "tmp", "empty",
)  # fmt: skip
_NOT_OURS_TO_MIND = frozenset(
    {"lost+found", "lock", "session", "snapshotter", "builder", *_DIRECTORIES}
)
_OTHERS = 0o066


class Paths:
    """Absolute paths of one state directory."""

    def __init__(self, root: str) -> None:
        """Derive every path; nothing is touched."""
        self.root = root
        self.lock = f"{root}/lock"
        self.session = f"{root}/session"
        self.snapshotter = f"{root}/snapshotter"
        self.database = f"{root}/builder.db"
        self.content = f"{root}/content"
        self.index = f"{root}/content/index.json"
        self.blobs = f"{root}/content/blobs/sha256"
        self.ingest = f"{root}/ingest"
        self.leases = f"{root}/leases"
        self.snapshots = f"{root}/snapshots"
        self.cache_mounts = f"{root}/cache-mounts"
        self.containers = f"{root}/containers"
        self.volumes = f"{root}/volumes"
        self.lists = f"{root}/lists"
        self.trash = f"{root}/trash"
        self.empty = f"{root}/empty"
        self.tmp = f"{root}/tmp"  # noqa: S108 - below the private root

    def blob(self, digest: Digest) -> str:
        """Name the file of a blob."""
        return f"{self.blobs}/{hex_of(digest)}"

    def snapshot(self, snapshot_id: int) -> str:
        """Name the directory of a snapshot."""
        return f"{self.snapshots}/{snapshot_id}"


def open_root(root: str) -> Paths:
    """Check the state directory's owner and mode, create what is missing; may be called by many.

    Raises StoreError for a directory that belongs to someone else or holds something else.
    """
    paths = Paths(os.path.abspath(root))
    with translated(paths.root):
        try:
            status = os.stat(paths.root)
        except FileNotFoundError:
            os.makedirs(paths.root, 0o700, exist_ok=True)
            status = os.stat(paths.root)
        if not S_ISDIR(status.st_mode):
            raise StoreError(f"{paths.root} is not a directory", fix="choose another --root")
        _check_owner(paths.root, status)
        layout = f"{paths.content}/oci-layout"
        if not os.path.exists(layout):
            _check_foreign(paths.root)
            _create(paths, layout)
        if status.st_mode & _OTHERS:  # files in layers may be setuid: nobody may reach them
            os.chmod(paths.root, S_IMODE(status.st_mode) & ~_OTHERS)
    return paths


def _check_owner(root: str, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise StoreError(
            f"the state directory {root} belongs to user {status.st_uid}",
            fix="choose another --root, or change the directory's owner",
        )


def _check_foreign(root: str) -> None:
    # Others may be making it right now: `session.<pid>` is one of its names being written.
    foreign = {name for name in os.listdir(root) if name.split(".")[0] not in _NOT_OURS_TO_MIND}
    if foreign:
        raise StoreError(
            f"{root} is not a state directory: it holds {min(foreign)!r}",
            fix="choose an empty or new directory for --root",
        )


def _create(paths: Paths, layout: str) -> None:
    for name in _DIRECTORIES:
        try:
            os.mkdir(f"{paths.root}/{name}", 0o700)
        except FileExistsError:
            continue
    os.chmod(paths.empty, 0o755)  # noqa: S103 - stands for the root of an empty image
    atomic.create(paths.index, EMPTY_INDEX, mode_bits=0o644)
    atomic.create(layout, _LAYOUT, mode_bits=0o644)  # last: it says that the rest is there


EMPTY_INDEX = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'
)
