"""Digests of what a step reads of a tree: names, modes, links and contents; never times.

In a client's directory owners and extended attributes do not count, since copies drop them; in a
stage's root they do. A digest names exactly what a copy of the same selector would bring.
"""

import os
from collections.abc import Iterator
from itertools import islice
from stat import S_IFMT, S_IMODE, S_ISDIR, S_ISLNK, S_ISREG

from builder.errors import BuilderError, KernelError, NotFound
from builder.graph.vertex import Selector
from builder.kernel.owner import kept_owner
from builder.kernel.paths import open_nofollow
from builder.kernel.xattr import Attributes, get_all, portable
from builder.layers.brief import packed_brief
from builder.layers.folder import packed_status
from builder.layers.memo import UNKNOWN, content_digest, is_settled, is_unchanged, now_ns
from builder.layers.names import encoded, joined
from builder.layers.tree import Compile, Matcher, Node, Tree, Visit
from builder.oci.digest import Digest, Field, digest_of, key, sha256
from builder.text import nearest

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ATTEMPTS = 3
_BATCH = 4096
"""Files whose names and records are digested at a time; part of the digest's definition."""

_DOMAIN = "content/2"

Firsts = dict[tuple[int, int], bytes]
"""The first name that was met of each file that has several."""


class Checksums:
    """Digests of the parts of one tree, each computed once."""

    is_context = False
    """Whether owners and attributes do not count."""

    def __init__(
        self,
        root_fd: int,
        *,
        compile_patterns: Compile,
        userxattr: bool = False,
        name: str = "context",
        tree: Tree | None = None,
    ) -> None:
        """Look below `root_fd`, which stays the caller's and must stay open.

        `compile_patterns` makes matchers of `--exclude` patterns; `name` is for messages.
        """
        self.tree = Tree(root_fd) if tree is None else tree
        self.userxattr = userxattr
        self.compile_patterns = compile_patterns
        self._name = name
        self._digests: dict[Selector, Digest] = {}
        self._contents: dict[str, tuple[bytes, bytes, bool]] = {}

    def digest(self, selector: Selector) -> Digest:
        """Digest what a selector selects; raise NotFound if it must be there and is not."""
        digest = self._digests.get(selector)
        if digest is None:
            roots = [self._root(node, selector) for node in self.selected(selector)]
            digest = self._digests[selector] = key(_DOMAIN, *roots)
        return digest

    def selected(self, selector: Selector) -> list[Node]:
        """Find the sources that a selector names, links not yet followed for wildcards."""
        if selector.has_wildcards:
            nodes = self.tree.glob(selector.path, is_deep=selector.is_deep)
        else:
            node = self.tree.find(selector.path, follow_last=False)
            nodes = [] if node is None or self.followed(node) is None else [node]
        if not nodes and selector.is_required:
            raise self.missing(selector.path)
        return nodes

    def visited(self, selector: Selector) -> Iterator[Node | Visit]:
        """Go through what a selector brings, without reading any of it."""
        exclude = self._exclude(selector)
        for node in self.selected(selector):
            yield node
            top = self.followed(node)
            if top is not None and top.is_directory:
                yield from self.tree.walk(top, exclude)

    def files(self, selector: Selector) -> Iterator[tuple[str, str]]:
        """List the files of a selector, each with a short text that changes when it does."""
        exclude = self._exclude(selector)
        for node in self.selected(selector):
            top = self.followed(node)
            if top is None:
                continue
            yield node.path, _short(self._record(top))
            if top.is_directory:
                for visit in self.tree.walk(top, exclude):
                    yield visit.path, _short(self._record(visit))

    def briefs(self) -> dict[str, bytes]:
        """Give what was digested so far in brief, directory by directory.

        Reads nothing, so the tree may be closed already.
        """
        return {path: self._brief(path) for path in self.tree.folders()}

    def missing(self, path: str) -> NotFound:
        """Say that a source is not there, and what may have been meant."""
        clean = "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
        return NotFound(
            f'failed to calculate checksum of ref {self._name}: "{clean}": not found',
            word=clean.strip("/"),
            fix=self._remedy(clean.strip("/")),
        )

    def hashed_content(self, path: str) -> tuple[bytes, bytes, bool] | None:
        """Tell what a file was when it was digested: status, SHA-256, and if that is certain."""
        return self._contents.get(path)

    def _root(self, node: Node, selector: Selector) -> Field:
        """Describe one selected source: where it is, and all that is in it."""
        top = self.followed(node)
        link = self.tree.link(node.path) if S_ISLNK(node.status.st_mode) else None
        parents = tuple(self._parent_modes(node.path))
        name = node.path if selector.has_wildcards else node.path.rpartition("/")[2]
        if top is None:
            return (name, link, parents, None)
        is_all = self.is_context and not top.path
        records = sha256(b"" if is_all else self._record(top))
        if top.is_directory:
            for piece in self._described(top, self._exclude(selector)):
                records.update(piece)
        return (name, link, parents, records.digest())

    def _described(self, top: Node, exclude: Matcher | None) -> Iterator[bytes]:
        """Describe everything below a directory, in the order of a walk."""
        skip = len(top.path) + 1 if top.path else 0
        firsts: Firsts = {}
        described = (
            (
                visit.path[skip:],
                self._record(visit)
                if visit.status.st_nlink == 1
                else self._linked(visit, visit.path[skip:], firsts),
            )
            for visit in self.tree.walk(top, exclude)
        )
        while batch := tuple(islice(described, _BATCH)):
            names = encoded([path for path, _ in batch])
            yield b"%d %d:" % (len(batch), len(names))
            yield names
            yield b"".join([record for _, record in batch])

    def _linked(self, visit: Visit, path: str, firsts: Firsts) -> bytes:
        """Describe what may have several names: each later one tells of the first, as copies do."""
        record, status = self._record(visit), visit.status
        if not S_ISREG(status.st_mode):
            return record
        name = os.fsencode(path)
        first = firsts.setdefault((status.st_dev, status.st_ino), name)
        return record if first is name else record + b" =%d:%b" % (len(first), first)

    def _record(self, node: Node | Visit) -> bytes:
        """Describe a file without its name, so that it is clear where the description ends."""
        status = node.status
        mode = status.st_mode
        if S_ISREG(mode):
            record = b"%o %b" % (mode, self._content(node))
        elif S_ISDIR(mode):
            record = b"%o " % mode
        else:
            link = S_ISLNK(mode)
            detail = os.fsencode(self.tree.link(node.path)) if link else b"%d" % status.st_rdev
            record = b"%o %d:%b" % (mode, len(detail), detail)
        return record if self.is_context else record + self._ownership(node)

    def _ownership(self, node: Node | Visit) -> bytes:
        status = node.status
        owner = status.st_uid, status.st_gid
        attributes: Attributes = ()
        if isinstance(node, Visit):
            if S_ISREG(status.st_mode) or S_ISDIR(status.st_mode):
                owner, attributes = self._kept(f"/proc/self/fd/{node.dir_fd}/{node.name}", owner)
        elif not S_ISLNK(status.st_mode):
            fd = open_nofollow(self.tree.root_fd, node.path)
            try:
                owner, attributes = self._kept(fd, owner)
            finally:
                os.close(fd)
        fields = [b" %d:%d:%d" % (*owner, len(attributes))]
        for name, value in attributes:
            fields.append(b" %d:%b=%d:%b" % (len(name), os.fsencode(name), len(value), value))
        return b"".join(fields)

    def _brief(self, path: str) -> bytes:
        """Give what was digested of a directory."""
        files = []
        for name, status in self.tree.listing(path).items():
            node = Node(joined(path, name), status)
            if not S_ISREG(status.st_mode):
                files.append((name, status.st_mode, self._digest_of(node)))
            elif node.path in self._contents:
                files.append((name, status.st_mode, self._contents[node.path][1]))
        return packed_brief(files)

    def _digest_of(self, node: Node | Visit) -> bytes:
        """Digest a file or what a link says; others have no content."""
        mode = node.status.st_mode
        if S_ISREG(mode):
            return self._content(node)
        return sha256(self.tree.known_link(node.path)).digest() if S_ISLNK(mode) else UNKNOWN

    def _kept(self, place: str | int, owner: tuple[int, int]) -> tuple[tuple[int, int], Attributes]:
        if self.userxattr:
            owner = kept_owner(place) or owner
        return owner, portable(get_all(place))

    def _content(self, node: Node | Visit) -> bytes:
        """Give the SHA-256 of a file's content."""
        known = self.hashed_content(node.path)
        if known is None:
            known = self._contents[node.path] = self._read(node, packed_status(node.status))
        return known[1]

    def _read(self, node: Node | Visit, listed: bytes) -> tuple[bytes, bytes, bool]:
        """Read a file until it holds still while it is read."""
        fd, before = self._opened(node)
        try:
            for _ in range(_ATTEMPTS):
                started_ns = now_ns()
                digest = content_digest(fd, before.st_size)
                after = os.fstat(fd)
                if is_unchanged(before, after):
                    status = listed if is_unchanged(node.status, after) else packed_status(after)
                    return status, digest, is_settled(after, started_ns)
                before = after
                os.lseek(fd, 0, os.SEEK_SET)
        except OSError as error:
            raise KernelError("read", error.errno or 0, node.path) from None
        finally:
            os.close(fd)
        raise BuilderError(
            f"/{node.path} keeps changing while it is read",
            fix="stop what writes to the build context, and build again",
        )

    def open(self, node: Node | Visit) -> int:
        """Open a regular file or a directory of the tree to read it, as the kind it was listed."""
        return self._opened(node)[0]

    def _opened(self, node: Node | Visit) -> tuple[int, os.stat_result]:
        try:
            if isinstance(node, Visit):
                fd = os.open(node.name, _FILE, dir_fd=node.dir_fd)
            else:
                fd = open_nofollow(self.tree.root_fd, node.path, _FILE)
        except OSError as error:
            raise KernelError("open", error.errno or 0, f"/{node.path}") from None
        status = os.fstat(fd)
        if S_IFMT(status.st_mode) != S_IFMT(node.status.st_mode):
            os.close(fd)
            raise BuilderError(f"/{node.path} was replaced while the build was reading it")
        return fd, status

    def followed(self, node: Node) -> Node | None:
        """Follow a node that is a link; None if that leads nowhere."""
        return self.tree.find(node.path) if S_ISLNK(node.status.st_mode) else node

    def _exclude(self, selector: Selector) -> Matcher | None:
        return self.compile_patterns(selector.exclude) if selector.exclude else None

    def _parent_modes(self, path: str) -> Iterator[int]:
        """Give the modes of the directories that lead to a path: `--parents` copies them."""
        parts = path.split("/")[:-1]
        for end in range(1, len(parts) + 1):
            node = self.tree.find("/".join(parts[:end]), follow_last=False)
            if node is not None:
                yield S_IMODE(node.status.st_mode)

    def _remedy(self, path: str) -> str:
        directory, _, name = path.rpartition("/")
        parent = self.tree.find(directory)
        if parent is not None and parent.is_directory:
            guess = nearest(name, self.tree.listing(parent.path))
            if guess is not None:
                return f"did you mean {directory + '/' if directory else ''}{guess}?"
        if self.is_context:
            return "check the path, and the patterns in .dockerignore that may hide it"
        return "check the path in the stage or image that is copied from"


class RootTree(Checksums):
    """The root of a stage or an image, or one cloned or downloaded."""


def _short(record: bytes) -> str:
    return digest_of(record)[7:19]
