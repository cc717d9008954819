"""Contexts that are not a directory of the host: tar archives on a stream, file or URL, and git."""

import os
from contextlib import ExitStack

from builder.concurrency import CancelToken
from builder.dockerfile.git_source import GitSource, InvalidGitSource, git_source
from builder.dockerfile.request import GitNeed, HttpNeed
from builder.engine.definition import MAX_DOCKERFILE_BYTES
from builder.errors import KernelError, NotFound, UsageError
from builder.events import discard
from builder.graph.ops import Git
from builder.kernel.paths import open_in_root
from builder.layers.extract import extract_archive
from builder.layers.stream import FdSource, is_archive
from builder.store.store import Store
from builder.values import NamedTuple

COPY_BYTES = 1 << 20
_GITHUB = "github.com/"
_URL_SCHEMES = ("http://", "https://", "git://", "ssh://")


class Fetched(NamedTuple):
    """A context that was fetched: a directory of the store, and what else came with it."""

    directory: str
    dockerfile: bytes | None = None
    """What was fetched was no archive, but a Dockerfile alone."""
    epoch_s: int | None = None
    """When it was committed or last modified."""


def git_of(text: str) -> GitSource | None:
    """Read a context argument as a Git source; raise UsageError if its options are wrong."""
    if text.startswith(_GITHUB):
        path, mark, fragment = text.partition("#")
        text = f"https://{path.removesuffix('.git')}.git{mark}{fragment}"
    try:
        return git_source(text)
    except InvalidGitSource as error:
        raise UsageError(f"the context {text!r}: {error}") from None


def is_remote(context: str) -> bool:
    """Whether a context argument names something to fetch."""
    return context.startswith(_URL_SCHEMES) or git_of(context) is not None


def from_stream(stdin: int, store: Store, stack: ExitStack) -> Fetched:
    """Read a tar archive, or a lone Dockerfile, from a stream."""
    directory = _temporary(store, stack)
    spool = os.open(store.path("tmp"), os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        while chunk := os.read(stdin, COPY_BYTES):
            os.write(spool, chunk)
        os.lseek(spool, 0, os.SEEK_SET)
        return Fetched(directory, _unfolded(spool, directory))
    finally:
        os.close(spool)


def from_file(path: str, store: Store, stack: ExitStack) -> str:
    """Unpack an archive of the host into a directory of the store; raise UsageError."""
    directory = _temporary(store, stack)
    archive = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _unfolded(archive, directory) is not None:
            raise UsageError(
                f"the context {path} is neither a directory nor an archive",
                fix="give a directory, or a tar archive",
            )
    finally:
        os.close(archive)
    return directory


def from_url(
    url: str, store: Store, stack: ExitStack, *, keep_git_dir: bool, is_offline: bool = False
) -> Fetched:
    """Fetch a git repository, an archive or a lone Dockerfile into a directory of the store."""
    directory = _temporary(store, stack)
    git = git_of(url)
    if git is not None and is_offline:
        raise UsageError(
            f"the context {url} is a repository elsewhere, and the build is offline",
            fix="clone it, and give the directory",
        )
    if git is not None:
        return _cloned(git, directory, store, keep_git_dir=keep_git_dir)
    from builder.engine import downloads

    found = downloads.pin(store, HttpNeed(url), discard, CancelToken(), is_offline=is_offline)
    blob = store.content.open(found.digest)
    try:
        return Fetched(directory, _unfolded(blob, directory), found.mtime_s or None)
    finally:
        os.close(blob)


def _temporary(store: Store, stack: ExitStack) -> str:
    directory = store.temporary(".context")
    stack.callback(store.discard, directory)
    return directory


def _cloned(git: GitSource, directory: str, store: Store, *, keep_git_dir: bool) -> Fetched:
    from builder.engine import git_refs
    from builder.executors.git import checkout, commit_time, date_files, drop_git_dir

    commit = git_refs.pin(store, GitNeed(git.remote, git.ref, git.checksum)).commit
    checkout(Git(git.remote, commit, submodules=git.submodules, ref=git.ref), directory)
    epoch_s = commit_time(directory)
    if git.has_commit_times:
        date_files(directory, epoch_s)
    if not (keep_git_dir or git.keep_git_dir):
        drop_git_dir(directory)
    return Fetched(_inside(directory, git.subdir), None, epoch_s)


def _inside(directory: str, subdir: str) -> str:
    """Find a directory of a checkout; links in it lead nowhere outside."""
    if not subdir:
        return directory
    root_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = open_in_root(root_fd, subdir, os.O_PATH | os.O_DIRECTORY)
    except KernelError:
        raise NotFound(f"the repository has no directory {subdir!r}") from None
    finally:
        os.close(root_fd)
    try:
        return os.readlink(f"/proc/self/fd/{found}")
    finally:
        os.close(found)


def _unfolded(fd: int, directory: str) -> bytes | None:
    """Extract an archive, or give the content of what is none."""
    if not is_archive(fd):
        content = bytearray()
        while chunk := os.read(fd, COPY_BYTES):
            content += chunk
            if len(content) > MAX_DOCKERFILE_BYTES:
                raise UsageError("what was given as context is neither an archive nor a Dockerfile")
        return bytes(content)
    dest_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        extract_archive(FdSource(fd), dest_fd, can_mknod=False)
    finally:
        os.close(dest_fd)
    return None
