"""A client's directory, behind its ignore file: what was digested before is taken from the memo.

The unit is the directory: where names and statuses are what they were, nothing in it is looked at.
"""

import os
from collections.abc import Callable, Iterator
from stat import S_ISDIR, S_ISREG

from builder.kernel.paths import open_nofollow
from builder.layers.brief import packed_brief
from builder.layers.checksum import Checksums, Firsts
from builder.layers.folder import Folder, packed_status
from builder.layers.memo import UNKNOWN, Known, Memo, Part
from builder.layers.names import encoded, joined
from builder.layers.tree import Compile, Matcher, Node, Tree, Visit
from builder.oci.digest import sha256
from builder.values import NamedTuple

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Section(NamedTuple):
    """A directory on a walk."""

    path: str
    part: Part
    is_hollow: bool
    """Whether it is ignored itself, and here because something in it is shown."""


class ContextTree(Checksums):
    """A client's directory, of which owners and extended attributes do not count."""

    is_context = True

    def __init__(
        self,
        root_fd: int,
        *,
        compile_patterns: Compile,
        patterns: tuple[str, ...] = (),
        memo: Memo | None = None,
        early: Callable[[str], Folder | None] = lambda _path: None,
    ) -> None:
        """Look below `root_fd` as Checksums does, not at what `patterns` hide.

        `early` is that of Tree. What is found out is for the memo, see `remember`.
        """
        ignore = compile_patterns(patterns) if patterns else None
        tree = Tree(root_fd, ignore=ignore, early=early)
        super().__init__(root_fd, compile_patterns=compile_patterns, tree=tree)
        self._view = sha256(encoded(patterns)).digest()
        self._memo = memo if memo is not None else Memo()
        self._parts: dict[str, Part] = {}
        self._remembered: dict[str, dict[tuple[bytes, bytes], bytes]] = {}

    def hashed_content(self, path: str) -> tuple[bytes, bytes, bool] | None:
        """Tell what a file was when it was digested, be it long ago."""
        known = super().hashed_content(path)
        if known is None:
            directory, _, name = path.rpartition("/")
            remembered = self._digests_in(directory)
            status = self.tree.listing(directory).get(name) if remembered else None
            if status is not None:
                packed = packed_status(status)
                digest = remembered.get((os.fsencode(name), packed))
                if digest is not None:
                    known = self._contents[path] = (packed, digest, True)
        return known

    def sections(self, top: Node) -> Iterator[Section]:
        """Give the directories below one, itself first, in the order of a walk."""
        firsts: Firsts = {}
        hollow: list[Section] = []
        pending = [top.path]
        while pending:
            path = pending.pop()
            while hollow and not path.startswith(f"{hollow[-1].path}/"):
                hollow.pop()
            part = self._part(path, top, firsts)
            section = Section(path, part, path != top.path and self.tree.is_hollow(path))
            if section.is_hollow and not part.shown:
                hollow.append(section)
            else:
                yield from hollow
                hollow.clear()
                yield section
            pending += [joined(path, name) for name in reversed(part.below)]

    def remember(self) -> Memo:
        """Give the memo with all that is known now. Reads nothing."""
        for path in self.tree.folders():
            if path not in self._parts:
                known = self._known(path)
                if known.contents.strip(b"\0"):
                    self._memo.keep(path, known)
        return self._memo

    def _described(self, top: Node, exclude: Matcher | None) -> Iterator[bytes]:
        if exclude is not None:
            yield from super()._described(top, exclude)
            return
        skip = len(top.path) + 1 if top.path else 0
        for path, part, is_hollow in self.sections(top):
            name = os.fsencode(path[skip:])
            yield b"%d:%b%b" % (len(name), name, part.digest)
            if is_hollow:
                node = self.tree.find(path, follow_last=False)
                assert node is not None  # noqa: S101 - it was met on the walk
                yield self._record(node)

    def _brief(self, path: str) -> bytes:
        part = self._parts.get(path)
        return super()._brief(path) if part is None else part.brief

    def _part(self, path: str, top: Node, firsts: Firsts) -> Part:
        """Give what is in a directory; where files have several names it depends on the walk."""
        part = self._parts.get(path)
        if part is None:
            folder, known = self.tree.folder(path), self._memo.find(path)
            if known is not None and known.view == self._view and known.is_of(folder):
                part = known.part
            if part is None or known is None:
                return self._made(path, top, firsts)
            self._parts[path] = part
            self._memo.keep(path, known)
        return part

    def _made(self, path: str, top: Node, firsts: Firsts) -> Part:
        """Digest what is in a directory."""
        records, files, below = [], [], []
        is_certain, skip = True, len(top.path) + 1 if top.path else 0
        dir_fd = open_nofollow(self.tree.root_fd, path, _DIRECTORY)
        try:
            for name, status in self.tree.listing(path).items():
                visit = Visit(joined(path, name), status, dir_fd, name)
                mode = status.st_mode
                if S_ISDIR(mode):
                    below.append(name)
                    if self.tree.is_hollow(visit.path):
                        is_certain = False  # whether it is shown depends on what is in it
                        continue
                record = self._record(visit)
                if S_ISREG(mode) and status.st_nlink > 1:
                    record = self._linked(visit, visit.path[skip:], firsts)
                records.append(record)
                files.append((name, mode, self._digest_of(visit)))
        finally:
            os.close(dir_fd)
        names = encoded([name for name, _, _ in files])
        head = b"%d %d:" % (len(files), len(names))
        digest = sha256(b"".join([head, names, *records])).digest()
        part = Part(digest, b"", tuple(below), len(files), packed_brief(files))
        return self._settled(path, part) if is_certain else part

    def _settled(self, path: str, part: Part) -> Part:
        """Keep what came of a directory, if nothing in it may change without a trace."""
        contents = (self._contents.get(joined(path, name)) for name in self.tree.listing(path))
        if not self.tree.folder(path).is_plain or not all(c is None or c[2] for c in contents):
            return part
        known = self._known(path)
        sizes = b"%d %d:" % (len(known.names), len(known.statuses))
        fields = (sizes, self._view, known.names, known.statuses, known.contents)
        part = self._parts[path] = part._replace(state=sha256(b"".join(fields)).digest())
        self._memo.keep(path, known._replace(part=part))
        return part

    def _known(self, path: str) -> Known:
        """Put together what is known of the files in a directory."""
        folder = self.tree.folder(path)
        remembered = self._digests_in(path)
        contents, prefix = [], os.fsencode(f"{path}/" if path else "")
        for name, status in folder.split():
            known = self._contents.get(os.fsdecode(prefix + name))
            if known is None:
                contents.append(remembered.get((name, status), UNKNOWN))
            else:
                contents.append(known[1] if known[2] and known[0] == status else UNKNOWN)
        return Known(folder.names, folder.statuses, b"".join(contents), self._view)

    def _digests_in(self, directory: str) -> dict[tuple[bytes, bytes], bytes]:
        """Look up what the memo knows of the files of a directory."""
        found = self._remembered.get(directory)
        if found is None:
            known = self._memo.find(directory)
            found = self._remembered[directory] = {} if known is None else known.digests()
        return found
