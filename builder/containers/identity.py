"""Who a container runs as, by the image's own passwd and group files.

These files are asked for at every start, so they are looked up in the layers themselves; the
merged tree is mounted only where the layers' answer is not plain.
"""

import os
import stat
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from builder.errors import BuilderError, NotFound, StartError, UsageError
from builder.kernel import ids
from builder.store.snapshotter import Active

_FILES = ("passwd", "group")


def resolve(
    active: Active,
    mounted: Callable[[Active], AbstractContextManager[int]],
    user: str,
    groups: Sequence[str],
) -> ids.Identity:
    """Resolve a user and additional groups in a container's tree; raise StartError (125).

    `mounted` gives the merged tree, where the layers' own answer is not plain.
    """
    directory = _plain_root(active)
    if directory is None:
        return _resolved(mounted(active), user, groups)
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _identity(fd, user, groups)
    finally:
        os.close(fd)


def _resolved(
    mounted: AbstractContextManager[int], user: str, groups: Sequence[str]
) -> ids.Identity:
    with mounted as fd:
        return _identity(fd, user, groups)


def _identity(root_fd: int, user: str, groups: Sequence[str]) -> ids.Identity:
    try:
        identity = ids.resolve_user(root_fd, user)
        added = [ids.resolve_group(root_fd, group) for group in groups]
    except (NotFound, UsageError) as error:
        raise StartError(error.what, fix=error.fix) from None
    except BuilderError as error:
        raise StartError(f"the user {user!r} cannot be looked up: {error.what}") from None
    return identity._replace(groups=tuple(dict.fromkeys((*identity.groups, *added))))


def _plain_root(active: Active) -> str | None:
    """Find one directory that holds the merged tree's /etc/passwd and /etc/group, or None.

    It must be the topmost that mentions /etc at all, and hold both files itself as plain files.
    """
    for directory in (active.upper, *active.lowers):
        try:
            status = os.lstat(f"{directory}/etc")
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            return None
        for name in _FILES:
            try:
                status = os.lstat(f"{directory}/etc/{name}")
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(status.st_mode) or os.listxattr(f"{directory}/etc/{name}"):
                return None
        return directory
    return None
