"""Extended attributes of files, and which of them may travel in a layer.

A file is a descriptor (O_PATH will do), or a path, whose last component is not followed.
"""

import os
from collections.abc import Iterable
from errno import ENODATA, ENOENT, ENOTSUP, EOPNOTSUPP, EPERM

from builder.errors import KernelError
from builder.kernel.owner import OWNER_XATTR

Attributes = tuple[tuple[str, bytes], ...]

CAPABILITY = "security.capability"
_USER = "user."
_PRIVATE = ("user.overlay.", OWNER_XATTR)
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")
_UNSUPPORTED = (ENOTSUP, EOPNOTSUPP)


def get_all(path: str | int) -> Attributes:
    """Read every attribute, sorted by name; none where the file system has no attributes.

    Raises KernelError.
    """
    name, is_followed = _named(path)
    try:
        keys = os.listxattr(name, follow_symlinks=is_followed)
        return tuple(
            (key, os.getxattr(name, key, follow_symlinks=is_followed)) for key in sorted(keys)
        )
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return ()
        raise KernelError("getxattr", error.errno or 0, name) from None


def portable(attributes: Attributes) -> Attributes:
    """Keep what may leave this machine: file capabilities and the users' own.

    Never overlayfs's (they would hide or redirect files of lower layers, trusted.* altogether),
    never ours, and no labels of this host's security modules.
    """
    return tuple(pair for pair in attributes if is_portable(pair[0]))


def is_portable(key: str) -> bool:
    """Whether an attribute of this name may travel in a layer."""
    return key == CAPABILITY or (key.startswith(_USER) and not key.startswith(_PRIVATE))


def set_all(path: str | int, attributes: Iterable[tuple[str, bytes]]) -> None:
    """Set attributes; those that this kind of file or file system cannot have are skipped.

    Raises KernelError.
    """
    name, is_followed = _named(path)
    for key, content in attributes:
        try:
            os.setxattr(name, key, content, follow_symlinks=is_followed)
        except OSError as error:
            is_refused = error.errno == EPERM and key.startswith(_USER)  # links, devices: xattr(7)
            if not is_refused and error.errno not in _UNSUPPORTED:
                raise KernelError("setxattr", error.errno or 0, f"{key} of {name}") from None


def is_opaque(path: str | int, *, userxattr: bool) -> bool:
    """Whether overlayfs takes a directory of an upper layer to hide the lower ones.

    Raises KernelError.
    """
    name, is_followed = _named(path)
    try:
        return os.getxattr(name, _OPAQUE[userxattr], follow_symlinks=is_followed) == b"y"
    except OSError as error:
        if error.errno in (ENODATA, ENOENT, *_UNSUPPORTED):
            return False
        raise KernelError("getxattr", error.errno or 0, name) from None


def set_opaque(path: str | int, *, userxattr: bool) -> None:
    """Make a directory of an upper layer hide what lower layers have below it.

    Raises KernelError.
    """
    name, is_followed = _named(path)
    try:
        os.setxattr(name, _OPAQUE[userxattr], b"y", follow_symlinks=is_followed)
    except OSError as error:
        raise KernelError("setxattr", error.errno or 0, name) from None


def _named(path: str | int) -> tuple[str, bool]:
    """Name a file for the xattr calls, and say whether to follow: flistxattr refuses O_PATH."""
    return (path, False) if isinstance(path, str) else (f"/proc/self/fd/{path}", True)
