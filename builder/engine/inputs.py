"""Open what a build reads from the client: the Dockerfile, its ignore file, and the contexts."""

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from builder.dockerfile.request import MAIN_CONTEXT, NamedContext
from builder.engine.definition import Definition, as_text, open_directory
from builder.engine.forerunner import NONE, Forerunner
from builder.engine.lock import Pinning
from builder.engine.request import STDIN, BuildRequest
from builder.engine.scout import Findings, memo_path, read_memo
from builder.engine.watched import Seen, Watched
from builder.errors import UsageError
from builder.executors.bench import LocalContext
from builder.ignore import IgnoreMatcher, parse_ignore_file
from builder.layers.context import ContextTree
from builder.source import Source
from builder.store import atomic
from builder.store.store import Store
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.engine.remote_context import Fetched

_REMOTE_MARKS = ("://", "@", "github.com/")


class Inputs(NamedTuple):
    """The opened inputs of a build; the trees belong to the exit stack that they were opened on."""

    dockerfile: Source
    main: NamedContext
    named: tuple[NamedContext, ...]
    trees: dict[str, LocalContext]
    memos: dict[str, str]
    """By context name: the file that keeps what is known of its directories."""
    watched: Watched | None
    """What was read; None where it did not come from local directories alone."""
    epoch_s: int | None = None
    """The time of a main context that was fetched, if it has one."""
    pinning: Pinning = Pinning()
    """The lock beside the Dockerfile; its name is empty if the Dockerfile is not in a directory."""


class _Opener:
    """Opens the directories of one build."""

    def __init__(self, store: Store, stack: ExitStack, forerunner: Forerunner) -> None:
        self.since_ns = min(time.time_ns(), forerunner.since_ns)
        self._scout_fd = forerunner.scout_fd
        self._store = store
        self._stack = stack
        self.trees: dict[str, LocalContext] = {}
        self.memos: dict[str, str] = {}
        self.files: list[tuple[str, os.stat_result | None]] = []
        self.roots: list[tuple[str, Callable[[], Seen]]] = []
        self._has_unpacked = False

    def unpacked(self, path: str) -> str:
        """Unpack an archive of the host for as long as the build lasts."""
        from builder.engine import remote_context

        self._has_unpacked = True
        return remote_context.from_file(path, self._store, self._stack)

    def is_local(self, named: tuple[NamedContext, ...]) -> bool:
        """Whether named contexts consist of what stat can watch."""
        kinds = {context.kind for context in named}
        return not self._has_unpacked and kinds <= {"directory", "image", "stage"}

    def watched(self) -> Watched:
        """Give what was read."""
        return Watched(self.since_ns, tuple(self.files), tuple(self.roots))

    def directory(self, name: str, path: str, patterns: tuple[str, ...]) -> None:
        """Open a context directory under a name."""
        root_fd = open_directory(path)
        self._stack.callback(os.close, root_fd)
        place = memo_path(self._store.root, path)
        memo, version = read_memo(place)
        findings = Findings(self._scout_fd, memo, version)
        tree = ContextTree(
            root_fd,
            compile_patterns=IgnoreMatcher,
            patterns=patterns,
            memo=memo,
            early=findings.folder,
        )
        self.trees[name] = LocalContext(tree)
        self.roots.append((os.path.abspath(path), tree.tree.seen))
        self.memos[name] = place


def open_inputs(
    request: BuildRequest,
    store: Store,
    stack: ExitStack,
    stdin: int,
    forerunner: Forerunner = NONE,
) -> Inputs:
    """Open everything that the request names; raise NotFound or UsageError with the remedy."""
    opener = _Opener(store, stack, forerunner)
    fetched = _fetched(request, store, stack, stdin)
    context = request.context if fetched is None else fetched.directory
    if fetched is not None and fetched.dockerfile is not None:
        dockerfile, ignore_text = Source("Dockerfile", as_text(fetched.dockerfile)), ""
        pinning = Pinning()
    else:
        with Definition(context, is_fetched=fetched is not None) as definition:
            dockerfile, ignore_text = definition.dockerfile(request.dockerfile, stdin)
            opener.files += definition.seen
            pinning = definition.lock
    pinning = pinning._replace(is_required=request.is_locked)
    patterns = parse_ignore_file(ignore_text) if ignore_text else ()
    opener.directory(MAIN_CONTEXT, context, patterns)
    named = tuple(_named(name, location, opener) for name, location in request.contexts)
    main = NamedContext(MAIN_CONTEXT, patterns=patterns)
    is_local = fetched is None and request.dockerfile != STDIN and opener.is_local(named)
    watched = opener.watched() if is_local else None
    epoch_s = None if fetched is None else fetched.epoch_s
    return Inputs(dockerfile, main, named, opener.trees, opener.memos, watched, epoch_s, pinning)


def save_memos(inputs: Inputs) -> None:
    """Keep the content hashes for the next build; losing them only costs time. Reads nothing."""
    for name, path in inputs.memos.items():
        packed = inputs.trees[name].tree.remember().packed()
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        atomic.write(path, packed, is_durable=False)


def _fetched(request: BuildRequest, store: Store, stack: ExitStack, stdin: int) -> "Fetched | None":
    is_stream = request.context == STDIN
    if not is_stream and not any(mark in request.context for mark in _REMOTE_MARKS):
        return None
    from builder.engine import remote_context

    if is_stream:
        if request.dockerfile == STDIN:
            raise UsageError("both the context and the Dockerfile are to come from standard input")
        return remote_context.from_stream(stdin, store, stack)
    if not remote_context.is_remote(request.context):
        return None
    keep = dict(request.build_args).get("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "")
    is_kept = keep.lower() in {"1", "true"}
    return remote_context.from_url(
        request.context, store, stack, keep_git_dir=is_kept, is_offline=request.is_offline
    )


def _named(name: str, location: str, opener: _Opener) -> NamedContext:
    """Read `--build-context NAME=LOCATION`."""
    scheme, colon, rest = location.partition(":")
    match scheme if colon else "":
        case "docker-image" | "docker":
            return NamedContext(name, "image", rest.removeprefix("//"))
        case "oci-layout" | "oci" | "oci-archive" | "docker-archive" | "dir":
            return NamedContext(name, "oci-layout", location)
        case "target":
            return NamedContext(name, "stage", rest)
        case _:
            return _found(name, location, opener)


def _found(name: str, location: str, opener: _Opener) -> NamedContext:
    """Tell directories, archives, repositories and downloads apart."""
    if not os.path.isdir(location):
        from builder.engine import remote_context

        if remote_context.git_of(location) is not None:
            return NamedContext(name, "git", location)
        if remote_context.is_remote(location):
            return NamedContext(name, "http", location)
    is_archive = os.path.isfile(location)
    path = opener.unpacked(location) if is_archive else location
    with Definition(path, is_fetched=is_archive) as definition:
        patterns = parse_ignore_file(definition.ignore_text())
        opener.files += definition.seen
    opener.directory(name, path, patterns)
    return NamedContext(name, "directory", path, patterns)
