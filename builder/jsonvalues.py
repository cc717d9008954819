"""Named tuples as JSON files: our own state, written and read by any version of ourselves.

A field that a file lacks takes its default, one that a reader does not know is ignored: so fields
may come and go. The interpreter's own C scanner is used directly; the json package costs 7 ms.
"""

import os
from _json import encode_basestring_ascii, make_scanner
from types import UnionType
from typing import Literal, TypeVar, cast, get_args, get_origin

from builder.errors import StoreError

T = TypeVar("T")

UNFINISHED = ".new"
"""How the names of files end that are being written, or were when their writer was killed."""


class _Context:
    """The settings that the scanner asks for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}  # noqa: RUF012 - the scanner clears it after each document


def loads(content: str) -> object:
    """Parse trusted JSON; raise ValueError for anything else."""
    try:
        value, _end = make_scanner(_Context())(  # type: ignore[arg-type]
            content.lstrip(), 0
        )
    except StopIteration:
        raise ValueError("not JSON") from None
    return cast("object", value)


def dumps(value: object) -> str:
    """Write named tuples as objects, other tuples and lists as arrays."""
    out: list[str] = []
    _write(value, out)
    return "".join(out)


def decode(kind: type[T], value: object) -> T:
    """Build a value of a type from parsed JSON; raise ValueError if it does not fit."""
    return cast("T", _decode(kind, value))


def read(kind: type[T], path: str, *, dir_fd: int | None = None) -> T | None:
    """Read a value from a file; None if there is no file, StoreError if it is damaged."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
    except FileNotFoundError:
        return None
    try:
        content = _whole(fd)
    finally:
        os.close(fd)
    try:
        return decode(kind, loads(content.decode("utf-8", "surrogateescape")))
    except (ValueError, TypeError, RecursionError):
        raise StoreError(f"{path} is damaged", fix="remove it, or restore it") from None


def write(value: object, path: str, *, dir_fd: int | None = None) -> None:
    """Replace a file atomically; not durable before the kernel writes it back by itself."""
    temporary = f"{path}.{os.getpid()}{UNFINISHED}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    fd = os.open(temporary, flags, 0o600, dir_fd=dir_fd)
    try:
        os.write(fd, dumps(value).encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)
    os.replace(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)


def _whole(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _write(value: object, out: list[str]) -> None:
    if isinstance(value, str):
        out.append(encode_basestring_ascii(value))
    elif value is None or isinstance(value, bool):
        out.append({None: "null", True: "true", False: "false"}[value])
    elif isinstance(value, int):
        out.append(str(int(value)))
    elif isinstance(value, float):
        out.append(repr(value))
    elif isinstance(value, dict):
        _write_members(value.items(), out)
    elif isinstance(value, tuple | list):
        fields = getattr(value, "_fields", None)
        if fields is not None:
            _write_members(zip(fields, value, strict=True), out)
        else:
            _write_items(value, out)
    else:
        raise TypeError(f"{type(value).__name__} has no JSON form")


def _write_members(members: "object", out: list[str]) -> None:
    separator = "{"
    for name, member in cast("list[tuple[str, object]]", members):
        out.append(f"{separator}{encode_basestring_ascii(str(name))}:")
        _write(member, out)
        separator = ","
    out.append("{}" if separator == "{" else "}")


def _write_items(items: "tuple[object, ...] | list[object]", out: list[str]) -> None:
    out.append("[")
    for position, item in enumerate(items):
        if position:
            out.append(",")
        _write(item, out)
    out.append("]")


def _decode(kind: object, value: object) -> object:
    if isinstance(kind, type) and hasattr(kind, "_fields"):
        return _named(kind, value)
    origin = get_origin(kind)
    if origin is tuple:
        return _tuple(get_args(kind), value)
    if origin is dict:
        return _mapping(get_args(kind), value)
    if origin is UnionType or isinstance(kind, UnionType):
        return _union(get_args(kind), value)
    if origin is Literal:
        kind = str
    if hasattr(kind, "__supertype__"):  # NewType
        kind = kind.__supertype__
    if kind is float and isinstance(value, int):
        return float(value)
    if kind is object or (isinstance(kind, type) and type(value) is kind):
        return value
    raise ValueError(f"{value!r} is not {kind}")


def _named(kind: type, value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object")  # noqa: TRY004 - one error for all misfits
    hints = kind.__annotations__
    return kind(**{name: _decode(hints[name], value[name]) for name in hints if name in value})


def _tuple(kinds: tuple[object, ...], value: object) -> object:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")  # noqa: TRY004
    if len(kinds) == 2 and kinds[1] is Ellipsis:  # noqa: PLR2004 - tuple[X, ...]
        return tuple(_decode(kinds[0], item) for item in value)
    if len(kinds) != len(value):
        raise ValueError(f"{value!r} has the wrong length")
    return tuple(_decode(kind, item) for kind, item in zip(kinds, value, strict=True))


def _mapping(kinds: tuple[object, ...], value: object) -> object:
    if not isinstance(value, dict):
        raise ValueError(f"{value!r} is not an object")  # noqa: TRY004
    return {name: _decode(kinds[1], member) for name, member in value.items()}


def _union(kinds: tuple[object, ...], value: object) -> object:
    for kind in kinds:
        if kind is type(None):
            if value is None:
                return None
            continue
        try:
            return _decode(kind, value)
        except ValueError:
            continue
    raise ValueError(f"{value!r} fits none of {kinds}")
