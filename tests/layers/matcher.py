"""A slow and simple matcher of ignore patterns, for tests: `*`, `**/x`, `!` and parents."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from builder.layers.checksum import Checksums, RootTree
from builder.layers.context import ContextTree
from builder.layers.memo import Memo


class Patterns:
    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns

    def is_ignored(self, path: str) -> bool:
        parts = path.split("/")
        prefixes = ["/".join(parts[: end + 1]) for end in range(len(parts))]
        is_ignored = False
        for pattern in self._patterns:
            if any(matches(pattern.removeprefix("!"), prefix) for prefix in prefixes):
                is_ignored = not pattern.startswith("!")
        return is_ignored

    def may_contain_included(self, directory: str) -> bool:
        del directory
        return any(pattern.startswith("!") for pattern in self._patterns)


def matches(pattern: str, path: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatchcase(path.rpartition("/")[2], pattern[3:])
    same_depth = pattern.count("/") == path.count("/")
    return same_depth and all(map(fnmatchcase, path.split("/"), pattern.split("/")))


@contextmanager
def context(root: Path, *ignore: str, memo: Memo | None = None) -> Iterator[ContextTree]:
    fd = os.open(root, os.O_RDONLY)
    yield ContextTree(fd, compile_patterns=Patterns, patterns=ignore, memo=memo)
    os.close(fd)


@contextmanager
def stage(root: Path, *, userxattr: bool = False) -> Iterator[Checksums]:
    fd = os.open(root, os.O_RDONLY)
    yield RootTree(fd, compile_patterns=Patterns, userxattr=userxattr, name="stage")
    os.close(fd)
