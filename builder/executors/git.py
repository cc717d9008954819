"""Git: a checkout of one commit, made by the host's git with everything dangerous turned off."""

import os
from collections.abc import Sequence

from builder.concurrency import CancelToken
from builder.errors import BuilderError, NotFound
from builder.executors.bench import Bench
from builder.graph.ops import Copy, Git
from builder.ignore import IgnoreMatcher
from builder.kernel.paths import open_in_root
from builder.kernel.trees import remove_tree
from builder.layers import copy as copying
from builder.layers.checksum import RootTree

ALLOWED_PROTOCOLS = "https:http:ssh:git"
"""Not `file`: a submodule could name a repository of the host. Not `ext`: it is a command."""


def execute(op: Git, bench: Bench, token: CancelToken) -> int:
    """Fetch the commit and make a snapshot of its files (or of a sub-directory)."""
    if bench.is_offline:
        raise NotFound(
            f"the checkout of {without_credentials(op.url)} at {op.commit} is not in the cache, and"
            " the build is offline",
            fix="build once without --offline",
        )
    snapshots = bench.store.snapshots
    directory = bench.store.temporary(".git")
    active = snapshots.prepare(None)
    try:
        checkout(op, directory)
        token.check()
        if op.has_commit_times:
            date_files(directory, commit_time(directory))
        with snapshots.mounted(active) as root_fd:
            _copy_checkout(op, directory, root_fd)
        return snapshots.commit(active).id
    except BaseException:
        snapshots.discard(active)
        raise
    finally:
        bench.store.discard(directory)


def checkout(op: Git, directory: str) -> None:
    """Fetch one commit into an empty directory and check it out there."""
    run_git(["init", "--quiet", "--initial-branch=main"], directory)
    run_git(["remote", "add", "origin", "--", op.url], directory)
    try:
        run_git(["fetch", "--quiet", "--depth=1", "--", "origin", op.commit], directory)
    except BuilderError:
        refs = ["+refs/heads/*:refs/x/*", *([f"+{op.ref}:refs/y/ref"] if op.ref else [])]
        try:
            run_git(["fetch", "--quiet", "--tags", "--", "origin", *refs], directory)
        except BuilderError:  # a shortened commit is no ref that can be fetched
            run_git(["fetch", "--quiet", "--tags", "--", "origin", refs[0]], directory)
    run_git(["checkout", "--quiet", "--detach", op.commit], directory)
    if op.submodules:
        run_git(["submodule", "update", "--init", "--recursive", "--depth=1"], directory)


def commit_time(directory: str) -> int:
    """Read the committer's time of what is checked out in a directory."""
    return int(run_git(["log", "-1", "--format=%ct", "HEAD"], directory).strip())


def date_files(directory: str, time_s: int) -> None:
    """Give everything in a checkout one time; links are not followed."""
    for folder, _folders, names in os.walk(directory, topdown=False):
        for name in names:
            path = os.path.join(folder, name)
            os.utime(path, (time_s, time_s), follow_symlinks=False)
        os.utime(folder, (time_s, time_s))


def drop_git_dir(directory: str) -> None:
    """Remove the repository and leave its files."""
    root_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove_tree(root_fd, ".git")
    finally:
        os.close(root_fd)


def run_git(arguments: Sequence[str], directory: str) -> str:
    """Run git with no user configuration, no prompts, and the safe protocols; return its output.

    Raises NotFound.
    """
    import subprocess

    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": directory,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": ALLOWED_PROTOCOLS,
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": "/dev/null",
        "GIT_CONFIG_KEY_1": "safe.directory",
        "GIT_CONFIG_VALUE_1": "*",
    }
    if "SSH_AUTH_SOCK" in os.environ:
        environment["SSH_AUTH_SOCK"] = os.environ["SSH_AUTH_SOCK"]
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise NotFound("git is not installed", fix="install git, or use an archive") from None
    if done.returncode != 0:
        said = without_credentials(done.stderr.decode("utf-8", "replace").strip())
        raise BuilderError(f"git {arguments[0]} ended with {done.returncode}: {said}")
    return done.stdout.decode("utf-8", "surrogateescape")


def without_credentials(text: str) -> str:
    """Take user names and passwords out of the URLs in a text."""
    head, *rest = text.split("://")
    parts = [head]
    for part in rest:
        end = min((at for at in map(part.find, "/ \n'") if at >= 0), default=len(part))
        parts.append(part[:end].rpartition("@")[2] + part[end:])
    return "://".join(parts)


def _copy_checkout(op: Git, directory: str, root_fd: int) -> None:
    source_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not op.keep_git_dir:
            remove_tree(source_fd, ".git")
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        sub_fd = open_in_root(source_fd, op.subdir or ".", flags)
        tree = RootTree(sub_fd, compile_patterns=IgnoreMatcher)
        try:
            copying.copy(Copy(0, "/", "/", allow_wildcard=False), tree, root_fd)
        finally:
            os.close(sub_fd)
    finally:
        os.close(source_fd)
