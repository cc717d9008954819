"""A directory in brief: its names, and of each file what tells whether it is as it was.

Enough to say later which files changed, and how.
"""

import struct
from collections.abc import Iterable, Mapping
from stat import S_IFMT

from builder.layers.names import packed_names, split_names

_RECORD = struct.Struct("<I8s")

Briefs = Mapping[str, bytes]
"""Directories by path, the root's is empty."""


def packed_brief(files: Iterable[tuple[str, int, bytes]]) -> bytes:
    """Write names, modes and contents' digests of the files in a directory."""
    listed = list(files)
    names = packed_names([name for name, _, _ in listed])
    return names + b"".join([_RECORD.pack(mode, digest[:8]) for _, mode, digest in listed])


def count(brief: bytes) -> int:
    """Tell how many files a brief is of."""
    head = brief.partition(b"\n")[0]
    return (len(brief) - len(head) - 1 - int(head)) // _RECORD.size


def merged(before: Briefs, after: Briefs) -> dict[str, bytes]:
    """Put two briefs of one tree together, of which each knows some of the files."""
    found = {**before, **after}
    for directory in before.keys() & after.keys():
        if before[directory] != after[directory]:
            files = {**_files("", before[directory]), **_files("", after[directory])}
            found[directory] = packed_brief((name, *fields) for name, fields in files.items())
    return found


def differing(before: Briefs, after: Briefs) -> list[tuple[str, str]]:
    """List the paths that are not the same in both, sorted, with what happened to each."""
    old: dict[str, tuple[int, bytes]] = {}
    new: dict[str, tuple[int, bytes]] = {}
    for directory in {**before, **after}:
        one, other = before.get(directory), after.get(directory)
        if one != other:
            old |= _files(directory, one)
            new |= _files(directory, other)
    paths = sorted({path for path, _ in old.items() ^ new.items()})
    return [(path, _what(old.get(path), new.get(path))) for path in paths]


def _files(directory: str, brief: bytes | None) -> dict[str, tuple[int, bytes]]:
    split = split_names(brief or b"")
    if split is None:
        return {}
    names, records = split
    prefix = f"{directory}/" if directory else ""
    fields = _RECORD.iter_unpack(records)
    return {prefix + name: found for name, found in zip(names, fields, strict=False)}


def _what(before: tuple[int, bytes] | None, after: tuple[int, bytes] | None) -> str:
    if before is None or after is None:
        return "added" if before is None else "removed"
    (old_mode, old), (new_mode, new) = before, after
    if S_IFMT(old_mode) != S_IFMT(new_mode):
        return "type"
    if old != new:
        return "content"
    return f"mode {old_mode & 0o7777:04o} → {new_mode & 0o7777:04o}"
