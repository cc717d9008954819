"""The space that the build cache may take, kept after each build by a process nobody waits for.

What names, containers and living builds need never counts and never goes; of the rest the least
recently used leaves go first. The limits come from `builder.toml` and the environment.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from builder.engine.settings import Settings
from builder.errors import BuilderError, UsageError
from builder.store.database import Row
from builder.store.gc import collect
from builder.store.marking import Policy
from builder.store.paths import Paths
from builder.store.sizes import directory_size
from builder.store.store import Store
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.kernel.namespaces import Privileges

MAX_CONFIG_BYTES = 1 << 20
_PATIENCE_S = 60
_MAX_UNMEASURED = 64
KEYS = ("enabled", "keep-duration", "keep-storage", "max-used", "min-free")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TIMES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_DEFAULT_MAX = "15%"
_DEFAULT_LEAST_BYTES = 20 << 30


Given = tuple[tuple[str, str], ...]
"""Limits by name, as they were written."""


class Budget(NamedTuple):
    """The limits; None where there is none."""

    is_on: bool = True
    max_used_bytes: int | None = None
    min_free_bytes: int | None = None
    reserved_bytes: int = 0
    unused_s: int | None = None
    """What was used since then stays even above the limits."""


def budget(config: str, given: Mapping[str, str], disk_bytes: int) -> Budget:
    """Read the limits: `given` by the environment or flags, else the file, else the defaults.

    By default the cache may take 15 % of the disk or 20 GB, whichever is more, but never more than
    half of the disk. Raises UsageError for what makes no sense.
    """
    values = {**_file(config), **{name: text for name, text in given.items() if text}}
    unknown = next((name for name in values if name not in KEYS), None)
    if unknown is not None:
        raise UsageError(f"{unknown!r} in [gc] is not known", fix=f"use {', '.join(KEYS)}")
    if values.get("enabled", "true").lower() in {"false", "0", "off", "no"}:
        return Budget(is_on=False)
    most = values.get("max-used")
    if most is None:
        wanted = max(_size(_DEFAULT_MAX, disk_bytes), _DEFAULT_LEAST_BYTES)
        max_used: int | None = min(wanted, disk_bytes // 2)
    else:
        max_used = None if most == "none" else _size(most, disk_bytes)
    least = values.get("min-free")
    unused = values.get("keep-duration")
    return Budget(
        max_used_bytes=max_used,
        min_free_bytes=None if least is None else _size(least, disk_bytes),
        reserved_bytes=_size(values.get("keep-storage", "0"), disk_bytes),
        unused_s=None if unused is None else _age(unused),
    )


def disk_bytes(path: str) -> int:
    """Tell the size of the file system that holds a path."""
    status = os.statvfs(path)
    return status.f_blocks * status.f_frsize


def watch(settings: Settings, privileges: "Privileges", rows: Sequence[Row]) -> None:
    """Look whether the limits hold, in a forked process; if not, become one that collects.

    SQLite may not be used after a fork that inherited a connection: so what it knew is given, and
    the collection happens in a fresh interpreter. `rows` are the numbers and sizes of snapshots.
    """
    root, config, given = settings.root, settings.config, settings.limits
    limits = _or_default(config, given, root)[0]
    unmeasured = [number for number, size_bytes in rows if size_bytes is None]
    is_due = len(unmeasured) > _MAX_UNMEASURED
    known_bytes = sum(size_bytes or 0 for _number, size_bytes in rows)
    if not limits.is_on or not (is_due or _is_over(root, limits, known_bytes, unmeasured)):
        return
    import json
    import sys

    what = json.dumps([root, list(privileges), config, given])
    code = f"import sys; sys.path[:] = {sys.path!r}; from builder.engine import budget; "
    code += "budget.resume(sys.argv[1])"
    os.execv(sys.executable, [sys.executable, "-S", "-c", code, what])  # noqa: S606 - no shell


def resume(what: str) -> None:
    """Go on in a fresh interpreter with what `watch` was given."""
    import json

    from builder.kernel.namespaces import Privileges

    root, privileges, config, given = json.loads(what)
    keep(root, Privileges._make(privileges), config, tuple((name, text) for name, text in given))


def _is_over(root: str, limits: Budget, known_bytes: int, unmeasured: Sequence[int]) -> bool:
    """Count all as cache, so that more is done than need be, never less."""
    status = os.statvfs(root)
    if limits.min_free_bytes and status.f_bavail * status.f_frsize < limits.min_free_bytes:
        return True
    if limits.max_used_bytes is None:
        return False
    paths = Paths(root)
    used = known_bytes + sum(_size_below(paths.snapshot(one)) for one in unmeasured)
    used += _size_below(f"{root}/content/blobs") + _size_below(f"{root}/cache-mounts")
    return used > limits.max_used_bytes


def _size_below(path: str) -> int:
    try:
        return directory_size(path)
    except (OSError, BuilderError):
        return 0  # it went just now


def keep(root: str, privileges: "Privileges | None", config: str = "", given: Given = ()) -> None:
    """Bring the cache of a state directory within its limits; for a process of its own."""
    limits = _or_default(config, given, root)[0]
    if not limits.is_on:
        return
    with Store.open(root, privileges) as store, ExitStack() as stack:
        with store.locks.tried("budget's next") as is_next:
            if not is_next:
                return  # somebody waits already, and will see what this build has left
            stack.enter_context(store.locks.held("budget", timeout_s=_PATIENCE_S))
        policy = Policy(
            limits.reserved_bytes,
            limits.max_used_bytes,
            limits.min_free_bytes,
            limits.unused_s,
        )
        collect(store, policy)


def complaint(config: str, given: Given, root: str) -> str:
    """Say what is wrong with the limits; the default ones are kept then."""
    error = _or_default(config, given, root)[1]
    return "" if error is None else f"{error.what}; the default space budget is kept"


def _file(path: str) -> dict[str, str]:
    """Read the table [gc] of a configuration file; nothing if there is no such file."""
    try:
        with open(path, "rb") as stream:
            content = stream.read(MAX_CONFIG_BYTES)
    except OSError:
        return {}
    import tomllib  # only for those who have such a file

    try:
        table = tomllib.loads(content.decode()).get("gc", {})
    except ValueError as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from None
    if not isinstance(table, dict):
        raise UsageError(f"gc in {path} is not a table")
    return {name: str(value) for name, value in table.items()}


def _size(text: str, disk: int) -> int:
    """Read `20GB`, `500m`, or a part of the disk, `15%`."""
    written = text.strip().lower()
    number = written.rstrip("abcdefghijklmnopqrstuvwxyz% ")
    unit = written[len(number) :].strip()
    try:
        amount = float(number)
        scale = disk / 100 if unit == "%" else _UNITS[unit.removesuffix("b").removesuffix("i")]
    except (ValueError, KeyError):
        raise UsageError(f"{text!r} is not a size", fix="write for example 20GB or 15%") from None
    return int(amount * scale)


def _age(text: str) -> int:
    """Read `48h`, `30d`, or seconds."""
    written = text.strip().lower()
    scale = _TIMES.get(written[-1:])
    try:
        return int(float(written[:-1]) * scale) if scale else int(written)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a duration", fix="write for example 48h or 30d"
        ) from None


def _or_default(config: str, given: Given, root: str) -> tuple[Budget, UsageError | None]:
    size = disk_bytes(root)
    try:
        return budget(config, dict(given), size), None
    except UsageError as error:
        return budget("", {}, size), error
