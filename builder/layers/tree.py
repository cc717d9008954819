"""A file tree to copy from: a client's directory behind its ignore file, or a stage's root.

Directories are listed when first asked for, and once: what a build sees of its context is one
moment of it, or a stale entry is noticed when the file is opened. Paths are "a/b", the root is "".
Links are followed inside the tree only, and never to what is ignored. Any thread may ask.
"""

import os
from collections.abc import Callable, Iterator
from stat import S_ISDIR, S_ISLNK
from typing import Protocol, Self

from builder.errors import KernelError
from builder.graph.vertex import has_wildcards
from builder.kernel.paths import open_nofollow
from builder.layers.folder import Folder, Listing, listed
from builder.layers.glob import DEEP, Glob, unescaped
from builder.layers.names import joined
from builder.values import NamedTuple

_MAX_LINKS = 40
_OPEN_DIRECTORIES = 16


class Matcher(Protocol):
    """Patterns of an ignore file or of `--exclude`, compiled."""

    def is_ignored(self, path: str) -> bool:
        """Whether the patterns hide a path, itself or by a parent."""

    def may_contain_included(self, directory: str) -> bool:
        """Whether something below a hidden directory may be shown again."""


class Below:
    """A matcher seen from a directory below the one its patterns are relative to."""

    def __init__(self, matcher: Matcher, directory: str) -> None:
        """Look at paths below `directory`."""
        self._matcher = matcher
        self._prefix = f"{directory}/" if directory else ""

    def is_ignored(self, path: str) -> bool:
        """Ask about a path below the directory."""
        return self._matcher.is_ignored(self._prefix + path)

    def may_contain_included(self, directory: str) -> bool:
        """Ask about a directory below the directory."""
        return self._matcher.may_contain_included(self._prefix + directory)


Compile = Callable[[tuple[str, ...]], Matcher]


class Node(NamedTuple):
    """A file of the tree, not followed: its path and what lstat said when it was listed."""

    path: str
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return S_ISDIR(self.status.st_mode)


class Visit(NamedTuple):
    """A node met on a walk, with its directory's descriptor, good until the walk goes on."""

    path: str
    status: os.stat_result
    dir_fd: int
    name: str

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return S_ISDIR(self.status.st_mode)


class Tree:
    """Looks at what is below a directory; the descriptor stays the caller's."""

    def __init__(
        self,
        root_fd: int,
        *,
        ignore: Matcher | None = None,
        early: Callable[[str], Folder | None] = lambda _path: None,
    ) -> None:
        """Look below `root_fd`, not at what `ignore` hides.

        `early` gives directories that somebody listed already, since the build began.
        """
        self.root_fd = root_fd
        self._ignore = ignore
        self._early = early
        self._folders: dict[str, Folder] = {}
        self._listings: dict[str, Listing] = {}
        self._links: dict[str, str] = {}
        self._hollow: set[str] = set()
        """Ignored directories, which exist only if something in them is shown."""
        self._root: Node | None = None

    @property
    def root(self) -> Node:
        """The root itself."""
        if self._root is None:
            self._root = Node("", os.fstat(self.root_fd))
        return self._root

    def find(self, path: str, *, follow_last: bool = True) -> Node | None:
        """Resolve a path, links included; None if it leads nowhere or to what is ignored."""
        pending = [part for part in reversed(path.split("/")) if part]
        node: Node | None = self.root
        links = 0
        while pending and node is not None:
            name = pending.pop()
            if name == ".":
                continue
            if name == "..":
                node = self._at(node.path.rpartition("/")[0])
                continue
            base, node = node, self.child(node, name)
            if node is None or not S_ISLNK(node.status.st_mode):
                continue
            if pending or follow_last:
                links += 1
                target = self.link(node.path)
                node = self.root if target.startswith("/") else base
                pending.extend(part for part in reversed(target.split("/")) if part)
                if links > _MAX_LINKS:
                    return None
        return node if node is not None and self._is_shown(node) else None

    def child(self, node: Node, name: str) -> Node | None:
        """Look a name up in a directory, not following it."""
        if not node.is_directory:
            return None
        status = self.listing(node.path).get(name)
        return None if status is None else Node(joined(node.path, name), status)

    def link(self, path: str) -> str:
        """Read what a symbolic link says; raise KernelError."""
        target = self._links.get(path)
        if target is None:
            fd = open_nofollow(self.root_fd, path)
            try:
                target = os.readlink("", dir_fd=fd)
            except OSError as error:
                raise KernelError("readlink", error.errno or 0, path) from None
            finally:
                os.close(fd)
            self._links[path] = target
        return target

    def known_link(self, path: str) -> bytes:
        """Give what a symbolic link says if that was read before; nothing is read now."""
        return os.fsencode(self._links.get(path, ""))

    def glob(self, pattern: str, base: Node | None = None, *, is_deep: bool = False) -> list[Node]:
        """Find what a pattern matches, sorted; components before the first wildcard follow links.

        With `is_deep` a component `**` is any number of directories; else it is a `*`.

        The last component is not followed; what a wildcard stands for never is.
        """
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        literal = []
        while parts and not has_wildcards(parts[0]):
            literal.append(unescaped(parts.pop(0)))
        start = base or self.root
        path = "/".join([start.path, *literal])
        node = self.find(path, follow_last=bool(parts))
        if node is None or not parts:
            return [] if node is None else [node]
        found = self._matches(node, parts, is_deep=is_deep)
        return [found[path] for path in sorted(found, key=lambda p: os.fsencode(p).split(b"/"))]

    def walk(self, top: Node | Visit, exclude: Matcher | None = None) -> Iterator[Visit]:
        """Visit everything below a directory, depth first, names sorted.

        `exclude` sees paths relative to `top`; a directory it hides is visited only if something
        in it is not hidden.
        """
        skip = len(top.path) + 1 if top.path else 0
        hollow: list[tuple[str, os.stat_result]] = []
        with _Directories(self.root_fd) as directories:
            stack = [(top.path, iter(list(self._listed(top.path, directories).items())))]
            while stack:
                directory, names = stack[-1]
                dir_fd = directories.fd(directory)
                for name, status in names:
                    path = f"{directory}/{name}" if directory else name
                    is_directory = S_ISDIR(status.st_mode)
                    is_hollow = is_directory and path in self._hollow
                    if exclude is not None and exclude.is_ignored(path[skip:]):
                        if not (is_directory and exclude.may_contain_included(path[skip:])):
                            continue
                        is_hollow = True
                    if is_hollow:
                        hollow.append((path, status))
                    else:
                        if hollow:
                            yield from directories.visits(hollow)
                            dir_fd = directories.fd(directory)
                        yield Visit(path, status, dir_fd, name)
                    if is_directory:
                        below = list(self._listed(path, directories).items())
                        stack.append((path, iter(below)))
                        break
                else:
                    stack.pop()
                    if hollow and hollow[-1][0] == directory:
                        hollow.pop()

    def listing(self, path: str) -> Listing:
        """List a directory: what is shown of it, with its status, sorted."""
        with _Directories(self.root_fd) as directories:
            return self._listed(path, directories)

    def folder(self, path: str) -> Folder:
        """List a directory whole, with what is ignored."""
        with _Directories(self.root_fd) as directories:
            return self._folder(path, directories)

    def folders(self) -> list[str]:
        """Name the directories that were looked at so far."""
        return list(self._folders)

    def is_hollow(self, path: str) -> bool:
        """Whether a directory that was listed is ignored and only leads to what may be shown."""
        return path in self._hollow

    def seen(self) -> Iterator[tuple[str, os.stat_result]]:
        """Give everything that was looked at so far: if it is all as it was, so is the build.

        Reads nothing, so the tree may be closed already.
        """
        if self._root is not None:
            yield "", self._root.status
        for path in self.folders():
            for name, status in self.listing(path).items():
                yield joined(path, name), status

    def _folder(self, path: str, directories: "_Directories") -> Folder:
        folder = self._folders.get(path)
        if folder is None:
            folder = self._folders[path] = self._early(path) or listed(directories.fd(path))
        return folder

    def _listed(self, path: str, directories: "_Directories") -> Listing:
        """List what is shown of a directory."""
        listing = self._listings.get(path)
        if listing is None:
            listing = self._folder(path, directories).listing(self.root.status.st_dev)
            if self._ignore is not None:
                listing = {
                    name: status
                    for name, status in listing.items()
                    if self._is_listed(joined(path, name), status, self._ignore)
                }
            self._listings[path] = listing
        return listing

    def _is_listed(self, path: str, status: os.stat_result, ignore: Matcher) -> bool:
        if not ignore.is_ignored(path):
            return True
        if not S_ISDIR(status.st_mode) or not ignore.may_contain_included(path):
            return False
        self._hollow.add(path)
        return True

    def _is_shown(self, node: Node) -> bool:
        if node.path not in self._hollow:
            return True
        return any(True for _ in self.walk(node))

    def _at(self, path: str) -> Node | None:
        """Find a directory known to be one, by its own path."""
        if not path:
            return self.root
        parent, _, name = path.rpartition("/")
        status = self.listing(parent).get(name)
        return None if status is None else Node(path, status)

    def _matches(self, top: Node, parts: list[str], *, is_deep: bool) -> dict[str, Node]:
        """Match components below a directory; `**` is any number of directories."""
        globs = [None if is_deep and part == DEEP else Glob(part) for part in parts]
        found: dict[str, Node] = {}
        pending = [(top, 0)]
        known: set[tuple[str, int]] = set()
        while pending:
            node, at = pending.pop()
            if (node.path, at) in known:
                continue
            known.add((node.path, at))
            if at == len(globs):
                if self._is_shown(node):
                    found[node.path] = node
                continue
            if not node.is_directory:
                continue
            glob = globs[at]
            if glob is None:
                pending.append((node, at + 1))
            for name, status in self.listing(node.path).items():
                child = Node(joined(node.path, name), status)
                if glob is None:
                    pending.append((child, at if child.is_directory else at + 1))
                elif glob.matches(name):
                    pending.append((child, at + 1))
        found.pop(top.path, None)
        return found


class _Directories:
    """Descriptors of the directories of one walk, the last few kept open."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._open: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for fd in self._open.values():
            os.close(fd)

    def visits(self, hollow: list[tuple[str, os.stat_result]]) -> Iterator[Visit]:
        """Visit directories that turned out not to be hollow, and forget them."""
        for path, status in hollow:
            parent, _, name = path.rpartition("/")
            yield Visit(path, status, self.fd(parent), name)
        hollow.clear()

    def fd(self, path: str) -> int:
        """Open a directory of the tree, never through a link."""
        fd = self._open.get(path)
        if fd is not None:
            return fd
        parent, _, name = path.rpartition("/")
        parent_fd = self._open.get(parent)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        if parent_fd is not None and name:
            try:
                fd = os.open(name, flags, dir_fd=parent_fd)
            except OSError as error:
                raise KernelError("open", error.errno or 0, path) from None
        else:
            fd = open_nofollow(self._root_fd, path, flags)
        if len(self._open) >= _OPEN_DIRECTORIES:
            oldest = next(iter(self._open))
            os.close(self._open.pop(oldest))
        self._open[path] = fd
        return fd
