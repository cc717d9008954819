"""Users and groups of an image, read from its own /etc/passwd and /etc/group.

Never from the host's name service. The files are the image's and so hostile: they are opened inside
its root, must be regular and small, and a line that makes no sense is as if it were not there.
A number is always an id, never a name, and an id that does not fit is refused, never wrapped to 0.
"""

import os
from typing import Protocol

from builder.errors import NotFound, UsageError
from builder.kernel.paths import read_small_file
from builder.values import NamedTuple

PASSWD = "/etc/passwd"  # noqa: S105 - a path
GROUP = "/etc/group"
MAX_FILE_BYTES = 10 << 20
MAX_ID = 0x7FFF_FFFF
_MAX_DIGITS = 20
_PASSWD_FIELDS = 7
_GROUP_FIELDS = 4


class Identity(NamedTuple):
    """Who a process runs as; `groups` are the supplementary ones, `name` is empty if unknown."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"
    name: str = ""


class ResolvedOwner(NamedTuple):
    """An owner as numbers, and a warning where the reference says nothing."""

    uid: int
    gid: int
    warning: str | None = None


class Owner(Protocol):
    """An owner as written: a user, and a group if a colon followed it."""

    @property
    def user(self) -> str:
        """The user's name or number, maybe empty."""

    @property
    def group(self) -> str | None:
        """The group's name or number, maybe empty; None without a colon."""


class _User(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class _Group(NamedTuple):
    name: str
    gid: int
    members: frozenset[str]


def resolve_user(root_fd: int, text: str) -> Identity:
    """Resolve `user[:group]`, each a name or a number; empty is root.

    A user without a group has the groups that the image gives it; with one, that group only.
    Raises NotFound for an unknown name and UsageError for a number out of range.
    """
    user_text, colon, group_text = text.partition(":")
    identity = _identity(root_fd, user_text or "0")
    if colon and group_text:
        return identity._replace(gid=resolve_group(root_fd, group_text), groups=())
    if not identity.name:
        return identity
    groups = supplementary_groups(root_fd, identity.name)
    return identity._replace(groups=tuple(g for g in groups if g != identity.gid))


def resolve_group(root_fd: int, text: str) -> int:
    """Resolve a group's name or number to its number; raise NotFound."""
    number = _number(text)
    if number is not None:
        return number
    for group in _groups(root_fd):
        if group.name == text:
            return group.gid
    raise NotFound(
        f"unable to find group {text}: no matching entries in group file",
        fix="create the group in an earlier step, or use a number",
    )


def supplementary_groups(root_fd: int, name: str) -> tuple[int, ...]:
    """List the groups that have a user as a member, in the file's order, each once."""
    return tuple(dict.fromkeys(g.gid for g in _groups(root_fd) if name in g.members))


def resolve_owner(root_fd: int, owner: Owner) -> ResolvedOwner:
    """Resolve the owner of copied files against the destination's files.

    A bare number is uid and gid, a bare name brings its primary group, an empty part is 0. As in
    the reference, an unknown user is 0 and an unknown group leaves the user's: both with a warning.
    """
    uid, gid, warning = _owning_user(root_fd, owner.user)
    if owner.group is None:
        return ResolvedOwner(uid, gid, warning)
    number = 0 if owner.group in {"", "root"} else _number(owner.group)
    if number is not None:
        return ResolvedOwner(uid, number, warning)
    for group in _groups(root_fd):
        if group.name == owner.group:
            return ResolvedOwner(uid, group.gid, warning)
    missing = f"group {owner.group} is not in the image's {GROUP}: files get group {gid}"
    return ResolvedOwner(uid, gid, missing if warning is None else f"{warning}; {missing}")


def _owning_user(root_fd: int, text: str) -> ResolvedOwner:
    number = 0 if text in {"", "root"} else _number(text)
    if number is not None:
        return ResolvedOwner(number, number)
    for user in _users(root_fd):
        if user.name == text:
            return ResolvedOwner(user.uid, user.gid)
    return ResolvedOwner(0, 0, f"user {text} is not in the image's {PASSWD}: files get owner 0")


def _identity(root_fd: int, text: str) -> Identity:
    number = _number(text)
    for user in _users(root_fd):
        if user.uid == number if number is not None else user.name == text:
            return Identity(user.uid, user.gid, (), user.home, user.name)
    if number is None:
        raise NotFound(
            f"unable to find user {text}: no matching entries in passwd file",
            fix="create the user in an earlier step, or use a number",
        )
    return Identity(number, 0)


def _number(text: str) -> int | None:
    """Read an id; None for what is a name. A number out of range is an error, not a name."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        return None
    if text != digits or len(digits) > _MAX_DIGITS or int(digits) > MAX_ID:
        raise UsageError(
            f"{text[:40]} is no user or group: uids and gids must be in range 0-{MAX_ID}"
        )
    return int(digits)


def _users(root_fd: int) -> list[_User]:
    users = []
    for fields in _lines(root_fd, PASSWD, _PASSWD_FIELDS):
        uid, gid = _field_id(fields[2]), _field_id(fields[3])
        if uid is not None and gid is not None:
            users.append(_User(os.fsdecode(fields[0]), uid, gid, os.fsdecode(fields[5]) or "/"))
    return users


def _groups(root_fd: int) -> list[_Group]:
    groups = []
    for fields in _lines(root_fd, GROUP, _GROUP_FIELDS):
        gid = _field_id(fields[2])
        if gid is not None:
            members = frozenset(os.fsdecode(member) for member in fields[3].split(b",") if member)
            groups.append(_Group(os.fsdecode(fields[0]), gid, members))
    return groups


def _lines(root_fd: int, path: str, fields: int) -> list[list[bytes]]:
    """Split a file into lines of colon-separated fields; short lines are filled up."""
    content = read_small_file(root_fd, path, limit=MAX_FILE_BYTES) or b""
    lines = []
    for line in content.split(b"\n"):
        parts = line.strip().split(b":", fields - 1)
        if parts[0] and not parts[0].startswith((b"#", b"+", b"-")):
            lines.append(parts + [b""] * (fields - len(parts)))
    return lines


def _field_id(field: bytes) -> int | None:
    if not field.isdigit() or len(field) > _MAX_DIGITS:
        return None
    number = int(field)
    return number if number <= MAX_ID else None
