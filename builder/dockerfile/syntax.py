"""The Lark front end: logical lines to plain syntax nodes, by grammar/dockerfile.lark.

Lark costs 30 ms to import and 80 to compile the grammar. So nothing of it is touched where its
tables, or the nodes of the same text, are already in the cache directory. A damaged file there is
ignored, and so is one that another user owns or may write.
"""

import json
import marshal
import os
from collections.abc import Sequence
from functools import cache
from stat import S_ISREG
from typing import Any, BinaryIO

from builder.dockerfile.tables import Automaton, Branch, Tables, Token, compiled, larks_own
from builder.oci.digest import hex_of, key, sha256
from builder.values import NamedTuple

FORMAT = "syntax/2"
TABLES_FORMAT = "tables/1"
TABLES_SUFFIX = ".tables"
MAX_CACHE_BYTES = 64 << 20
MAX_CACHE_FILES = 64
_OTHERS_MAY_WRITE = 0o022
_DIGEST_BYTES = 32


class Word(NamedTuple):
    """A terminal of the grammar: its kind, its text, and where it stands in the logical line."""

    kind: str
    text: str
    offset: int


class Node(NamedTuple):
    """One instruction: the grammar's rule, and its terminals, the keyword first."""

    rule: str
    words: tuple[Word, ...]

    @property
    def keyword(self) -> str:
        """Give the keyword as it is spelt."""
        return self.words[0].text

    @property
    def flags(self) -> tuple[Word, ...]:
        """List the flags."""
        return tuple(word for word in self.words if word.kind == "FLAG")

    @property
    def body(self) -> tuple[Word, ...]:
        """List what follows keyword and flags."""
        return tuple(word for word in self.words[1:] if word.kind != "FLAG")


def syntax(lines: Sequence[str], escape: str, cache_dir: str | None) -> tuple[Node, ...]:
    """Parse logical lines, one instruction each, in order."""
    text = "".join(f"{line}\n" for line in lines)
    path = None
    if cache_dir is not None:
        name = hex_of(key(FORMAT, text, escape, _grammar_text()))
        path = f"{cache_dir}/{name}"
        kept = _kept(path, len(lines))
        if kept is not None:
            return kept
    nodes = _parsed(text, escape, cache_dir)
    if path is not None:
        _keep(path, nodes)
    return nodes


def _parsed(text: str, escape: str, cache_dir: str | None) -> tuple[Node, ...]:
    tree = _automaton(escape, cache_dir).parse(text)
    if tree is None:  # no line is without a rule; should one be, Lark says where
        larks_own(_grammar(escape)).parse(text)
        raise ValueError(text)
    return tuple(_node(child) for child in tree.children if isinstance(child, Branch))


def _node(branch: Branch) -> Node:
    tokens = [child for child in branch.children if isinstance(child, Token)]
    first = tokens[0].start
    return Node(branch.rule, tuple(Word(kind, text, at - first) for kind, text, at in tokens))


@cache
def _automaton(escape: str, cache_dir: str | None) -> Automaton:
    """Give the automaton of the grammar, from tables that are kept if there are any."""
    grammar = _grammar(escape)
    if cache_dir is None:
        return Automaton(compiled(grammar))
    path = f"{cache_dir}/{hex_of(key(TABLES_FORMAT, grammar))}{TABLES_SUFFIX}"
    tables = _kept_tables(path)
    if tables is None:
        tables = compiled(grammar)
        plain: Any = tuple(tables)
        content = marshal.dumps(plain)
        _replace(path, sha256(content).digest() + content)
    return Automaton(tables)


def _kept_tables(path: str) -> Tables | None:
    try:
        with _own_file(path) as stream:
            content = stream.read(MAX_CACHE_BYTES)
    except OSError:
        return None
    if content[:_DIGEST_BYTES] != sha256(content[_DIGEST_BYTES:]).digest():
        return None
    return Tables(*marshal.loads(content[_DIGEST_BYTES:]))  # noqa: S302 - ours, and whole


def _grammar(escape: str) -> str:
    return _grammar_text().replace("\\\\", "`") if escape == "`" else _grammar_text()


def _grammar_text() -> str:
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "grammar", "dockerfile.lark")
    with open(path, encoding="utf-8") as stream:
        return stream.read()


def _kept(path: str, count: int) -> tuple[Node, ...] | None:
    """Read kept nodes; None for anything that does not look exactly like them."""
    try:
        with _own_file(path) as stream:
            plain = json.loads(stream.read(MAX_CACHE_BYTES))
        nodes = tuple(Node(rule, tuple(Word(*word) for word in words)) for rule, words in plain)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return nodes if len(nodes) == count and all(map(_is_sound, nodes)) else None


def _is_sound(node: Node) -> bool:
    """Say whether a node that was read has the types that it should."""
    return bool(node.words) and all(
        isinstance(value, kind)
        for word in node.words
        for value, kind in zip((node.rule, *word), (str, str, str, int), strict=True)
    )


def _own_file(path: str) -> BinaryIO:
    """Open a file that nobody else could have written; OSError for others."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    stream = os.fdopen(fd, "rb")
    status = os.fstat(fd)
    is_others = status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE
    if is_others or not S_ISREG(status.st_mode):
        stream.close()
        raise OSError(path)
    return stream


def _keep(path: str, nodes: tuple[Node, ...]) -> None:
    _replace(path, json.dumps(nodes, separators=(",", ":")).encode())


def _replace(path: str, content: bytes) -> None:
    """Write a cache file by renaming; a cache that cannot be written is no failure."""
    temporary = f"{path}.{os.getpid()}"
    directory = os.path.dirname(path)
    try:
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _make_room(directory)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except OSError:
        return


def _make_room(directory: str) -> None:
    """Delete the oldest half of the nodes once there are many."""
    with os.scandir(directory) as entries:
        files = [
            (entry.stat(follow_symlinks=False).st_mtime_ns, entry.path)
            for entry in entries
            if not entry.name.endswith(TABLES_SUFFIX)
        ]
    if len(files) >= MAX_CACHE_FILES:
        for _mtime_ns, path in sorted(files)[: len(files) // 2]:
            os.unlink(path)
