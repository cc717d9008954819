"""The files of an image archive or layout directory, looked up by name among themselves only.

An archive is read once, in whatever order its members come: small ones are kept in memory, large
ones go to the store's ingest area, digested on the way. Nothing is trusted, and nothing outlives
the `ExitStack` unless it is committed.
"""

import errno
import os
import posixpath
import stat
from contextlib import ExitStack
from typing import Protocol

from builder.errors import InvalidImage, KernelError
from builder.kernel.paths import open_in_root
from builder.layers.stream import Digesting, FdSource, Source, decompressed
from builder.layers.tarreader import Reader
from builder.oci.digest import SHA256_PREFIX, Digest, digest_of, sha256
from builder.store.content import Content, Ingest
from builder.values import NamedTuple

MAX_MEMBERS = 20_000
MAX_LINKS = 16
MAX_SMALL_BYTES = 64 << 10
MAX_MEMORY_BYTES = 32 << 20
_PIECE = 1 << 20
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})


class Member(NamedTuple):
    """A file of the archive: in memory, or in an ingest of the store."""

    name: str
    digest: Digest
    size_bytes: int
    content: bytes | None
    ingest: Ingest | None

    def read(self, *, limit: int) -> bytes:
        """Give the bytes; raise InvalidImage if there are more than `limit`."""
        if self.size_bytes > limit:
            raise InvalidImage(f"{self.name} in the archive is larger than {limit} bytes")
        if self.content is not None:
            return self.content
        return os.pread(self.fd, self.size_bytes, 0)

    @property
    def fd(self) -> int:
        """The descriptor of a member that is not in memory; raise InvalidImage."""
        if self.ingest is None:
            raise InvalidImage(f"{self.name} in the archive is not a file of that size")
        return self.ingest.fd


class Members(Protocol):
    """Where the files of an image are found."""

    def find(self, name: str) -> Member | None:
        """Look a file up, following links between members; None if there is none."""
        ...


class ArchiveMembers:
    """The members of a tar archive, read once from a stream in any compression."""

    def __init__(self, source: Source, content: Content, stack: ExitStack) -> None:
        """Read the whole archive; InvalidImage if it is malformed or beyond a limit."""
        self._content = content
        self._stack = stack
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self._memory_bytes = 0
        reader = Reader(decompressed(source).read)
        for count, entry in enumerate(reader):
            if count >= MAX_MEMBERS:
                raise InvalidImage(f"the archive has more than {MAX_MEMBERS} members")
            name = _clean(entry.name)
            if not name:
                continue
            self._members.pop(name, None)
            self._links.pop(name, None)
            if entry.kind == "file":
                self._members[name] = self._spooled(name, entry.size_bytes, reader)
            elif entry.kind == "symlink":
                self._links[name] = _clean(posixpath.join(posixpath.dirname(name), entry.link_name))
            elif entry.kind == "hardlink":
                self._links[name] = _clean(entry.link_name)

    def find(self, name: str) -> Member | None:
        """Look a member up by its cleaned name; links lead to other members only."""
        name = _clean(name)
        for _ in range(MAX_LINKS):
            if name not in self._links:
                return self._members.get(name)
            name = self._links[name]
        return None

    def _spooled(self, name: str, size_bytes: int, reader: Reader) -> Member:
        if size_bytes <= MAX_SMALL_BYTES and self._memory_bytes + size_bytes <= MAX_MEMORY_BYTES:
            self._memory_bytes += size_bytes
            content = reader.content()
            return Member(name, digest_of(content), size_bytes, content, None)
        ingest = self._stack.enter_context(self._content.ingest())
        hasher = sha256()
        while piece := reader.piece():
            hasher.update(piece)
            ingest.write(piece)
        digest = Digest(SHA256_PREFIX + hasher.hexdigest())
        return Member(name, digest, size_bytes, None, ingest)


class DirectoryMembers:
    """The files of a layout directory, read when they are asked for."""

    def __init__(self, path: str, content: Content, stack: ExitStack) -> None:
        """Open the directory; nothing outside of it is ever read."""
        self._content = content
        self._stack = stack
        self._found: dict[str, Member | None] = {}
        try:
            self._root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KernelError("open", error.errno or 0, path) from None
        stack.callback(os.close, self._root_fd)

    def find(self, name: str) -> Member | None:
        """Look a file up; links are followed inside of the directory."""
        if name not in self._found:
            self._found[name] = self._read(name)
        return self._found[name]

    def _read(self, name: str) -> Member | None:
        try:
            fd = open_in_root(self._root_fd, name, os.O_RDONLY | os.O_NONBLOCK)
        except KernelError as error:
            if error.errno in _ABSENT:
                return None
            raise
        try:
            return self._spooled(name, fd)
        finally:
            os.close(fd)

    def _spooled(self, name: str, fd: int) -> Member | None:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size <= MAX_SMALL_BYTES:
            content = os.pread(fd, MAX_SMALL_BYTES, 0)
            return Member(name, digest_of(content), len(content), content, None)
        ingest = self._stack.enter_context(self._content.ingest())
        source = Digesting(FdSource(fd))
        while piece := source.read(_PIECE):
            ingest.write(piece)
        return Member(name, source.digest, source.size_bytes, None, ingest)


def _clean(name: str) -> str:
    """Make a member's name comparable; one that leads out of the archive matches nothing."""
    cleaned = posixpath.normpath(name)
    if cleaned.startswith(("/", "../")) or cleaned in {".", ".."} or "\0" in cleaned:
        return ""
    return cleaned
