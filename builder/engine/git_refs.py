"""Resolve git refs to commits by asking the remote."""

from builder.dockerfile.request import GitNeed, GitPin
from builder.engine.lock import git_name, is_commit
from builder.errors import BuilderError, NotFound
from builder.executors.git import checkout, commit_time, run_git
from builder.graph.ops import Git
from builder.store.store import Store

_HEX = frozenset("0123456789abcdef")
_MIN_PREFIX = 4
"""The shortest beginning of a commit that git accepts."""


def pin(
    store: Store, need: GitNeed, locked: str | None = None, *, is_offline: bool = False
) -> GitPin:
    """Find the commit that a ref stands for: a full commit, a branch, a tag, or the default.

    One that a lock gives is not asked for; offline, it is what the remote said last.
    """
    commit = locked or (need.ref if is_commit(need.ref) else "")
    if not commit:
        commit = _remembered(store, need) if is_offline else _asked(store, need)
    if need.checksum and not commit.startswith(need.checksum):
        raise BuilderError(f"expected checksum to match {need.checksum}, got {commit}")
    if need.wants_time and is_offline:
        raise NotFound(
            f"the time of {need.remote}#{commit} is not known here, and the build is offline",
            fix="build without --offline",
        )
    return GitPin(commit, _time(store, need, commit) if need.wants_time else None)


def _asked(store: Store, need: GitNeed) -> str:
    commit = _found(store, need)
    store.records.remember(_key(need), commit.encode())
    return commit


def _remembered(store: Store, need: GitNeed) -> str:
    known = store.records.memo(_key(need))
    if known is None:
        raise NotFound(
            f"the commit of {git_name(need.remote, need.ref)} is not known here, and the build is"
            " offline",
            fix="build once without --offline, or write a lock with `builder lock`",
        )
    return known.decode()


def _key(need: GitNeed) -> bytes:
    return f"git/{git_name(need.remote, need.ref)}".encode("utf-8", "surrogateescape")


def _found(store: Store, need: GitNeed) -> str:
    wanted = need.ref or "HEAD"
    refs = _listed(store, need.remote)
    for name in (f"refs/tags/{wanted}^{{}}", f"refs/heads/{wanted}", f"refs/tags/{wanted}",
                 f"{wanted}^{{}}", wanted):  # fmt: skip
        if name in refs:
            return refs[name]
    if len(wanted) >= _MIN_PREFIX and _HEX.issuperset(wanted):
        matches = {commit for commit in refs.values() if commit.startswith(wanted)}
        if len(matches) == 1:
            return matches.pop()
    raise NotFound(
        f"{need.remote} has no ref {wanted!r}", fix="name a branch, a tag or a whole commit"
    )


def _listed(store: Store, remote: str) -> dict[str, str]:
    """List the refs of a remote; lines that are none are left out, whatever the remote says."""
    directory = store.temporary(".git-refs")
    try:
        listing = run_git(["ls-remote", "--", remote], directory)
    finally:
        store.discard(directory)
    refs: dict[str, str] = {}
    for line in listing.splitlines():
        commit, _, name = line.partition("\t")
        if is_commit(commit):
            refs[name] = commit
    return refs


def _time(store: Store, need: GitNeed, commit: str) -> int:
    directory = store.temporary(".git-time")
    try:
        checkout(Git(need.remote, commit, submodules=False, ref=need.ref), directory)
        return commit_time(directory)
    finally:
        store.discard(directory)
