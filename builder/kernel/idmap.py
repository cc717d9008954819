"""Maps of user and group ids between namespaces, and which ids an account may use.

Spec: user_namespaces(7), subuid(5), newuidmap(1).
"""

import os
import pwd
from contextlib import suppress
from typing import TypeAlias

from builder.errors import KernelError

Range: TypeAlias = tuple[int, int, int]
"""First id inside, first id outside, count."""


def own_map(kind: str) -> tuple[Range, ...]:
    """Read the caller's own map; `kind` is uid or gid.

    Raises KernelError.
    """
    try:
        with open(f"/proc/self/{kind}_map", encoding="utf-8") as file:
            return tuple(_range(line) for line in file)
    except OSError as error:
        raise KernelError("open", error.errno or 0, f"/proc/self/{kind}_map") from None


def count(ranges: tuple[Range, ...]) -> int:
    """Count the ids that a map covers."""
    return sum(length for _, _, length in ranges)


def subordinate(path: str, uid: int) -> tuple[tuple[int, int], ...]:
    """List the ranges (first, count) that /etc/subuid or /etc/subgid grants to an account."""
    owners = {str(uid)}
    with suppress(KeyError):  # an id without an account
        owners.add(pwd.getpwuid(uid).pw_name)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.strip().split(":") for line in file]
    except OSError:
        return ()
    return tuple(
        (int(line[1]), int(line[2]))
        for line in lines
        if len(line) == 3  # noqa: PLR2004 - owner, first, count
        and line[0] in owners
        and _is_number(line[1])
        and _is_number(line[2])
        and int(line[2]) > 0
    )


def with_own(own_id: int, granted: tuple[tuple[int, int], ...]) -> tuple[Range, ...]:
    """Map the own id to 0 and the granted ranges, in order, to what follows."""
    ranges = [(0, own_id, 1)]
    inside = 1
    for first, length in granted:
        ranges.append((inside, first, length))
        inside += length
    return tuple(ranges)


def identity(ranges: tuple[Range, ...]) -> tuple[Range, ...]:
    """Map every id of the present namespace to itself in one below it."""
    return tuple((inside, inside, length) for inside, _, length in ranges)


def text(ranges: tuple[Range, ...]) -> str:
    """Write a map as /proc/PID/uid_map takes it."""
    return "".join(f"{inside} {outside} {length}\n" for inside, outside, length in ranges)


def write(pid: int | str, kind: str, ranges: tuple[Range, ...]) -> None:
    """Set the map of a process's new user namespace; OSError if that is not allowed."""
    fd = os.open(f"/proc/{pid}/{kind}_map", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text(ranges).encode())
    finally:
        os.close(fd)


def deny_setgroups() -> None:
    """Give up setgroups(2), without which an own map of groups may not be written."""
    with open("/proc/self/setgroups", "w", encoding="utf-8") as file:
        file.write("deny")


def _range(line: str) -> Range:
    inside, outside, length = (int(word) for word in line.split())
    return inside, outside, length


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 11  # noqa: PLR2004 - 32 bits
