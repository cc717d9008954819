"""The files of a build context: which are in it, what hides the others, and what reads them.

The Dockerfile is lowered with stand-ins for images and downloads, so that nothing is fetched: only
a source that is written with a variable of a base image can be missed.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from stat import S_ISDIR
from typing import TYPE_CHECKING

from builder.dockerfile.lower import lower_stages
from builder.dockerfile.parser import parse
from builder.dockerfile.request import (
    MAIN_CONTEXT,
    GitPin,
    HttpPin,
    ImagePin,
    Needs,
    Pins,
)
from builder.engine import options
from builder.engine.inputs import Inputs, open_inputs
from builder.engine.request import STDIN, BuildRequest
from builder.errors import NotFound, UsageError
from builder.graph.ops import Context
from builder.graph.vertex import Selector, Vertex
from builder.graph.walk import topological
from builder.ignore import IgnoreMatcher
from builder.layers.context import ContextTree
from builder.oci.config import ImageConfig
from builder.oci.digest import digest_of
from builder.values import NamedTuple

if TYPE_CHECKING:
    from builder.engine.build_api import BuildUseCases

_STDIN_FD = 0
_COMMIT = "0" * 40
_SPECIAL = frozenset("*?[]\\")
_OF_BUILDER = ("Dockerfile", "Containerfile", ".dockerignore")


class ContextFile(NamedTuple):
    """A file below the context directory."""

    path: str
    size_bytes: int
    pattern: str = ""
    """The ignore pattern that decides about it; empty if none matches."""
    is_ignored: bool = False
    readers: tuple[str, ...] = ()
    """The steps that read it."""


class Hidden(NamedTuple):
    """What one pattern of the ignore file keeps out."""

    pattern: str
    files: int
    size_bytes: int


class Suggestion(NamedTuple):
    """A line for the ignore file, and what it would keep out."""

    line: str
    files: int
    size_bytes: int


class ContextFiles(NamedTuple):
    """All files, the largest first, and what follows from them."""

    files: tuple[ContextFile, ...]
    hidden: tuple[Hidden, ...]
    suggestions: tuple[Suggestion, ...]

    @property
    def shown(self) -> tuple[ContextFile, ...]:
        """The files that are in the context."""
        return tuple(file for file in self.files if not file.is_ignored)


def context_files(engine: "BuildUseCases", request: BuildRequest) -> ContextFiles:
    """Look through the context directory of a request; reads no file of it but two.

    Raises UsageError.
    """
    if request.context == STDIN or "://" in request.context:
        raise UsageError("the context is no directory", fix="give the path of a directory")
    with ExitStack() as stack:
        inputs = open_inputs(request, engine.store, stack, _STDIN_FD)
        lowering = options.lowering_requests(request, inputs, engine.platform)[0]
        dockerfile = parse(inputs.dockerfile)
        pins = Pins()
        while isinstance(roots := lower_stages(dockerfile, lowering, pins), Needs):
            pins = _stand_ins(roots, pins)
        readers = _readers(topological(roots), inputs.trees[MAIN_CONTEXT].tree)
        return _report(request.context, inputs, readers)


def suggestions(files: Sequence[ContextFile]) -> tuple[Suggestion, ...]:
    """Make ignore lines for what nothing reads: whole directories where nothing in them is read."""
    needed: set[str] = set()
    for file in files:
        if file.readers or file.is_ignored:
            needed.update(_parents(file.path))
    sums: dict[str, tuple[int, int]] = {}
    for file in files:
        if file.readers or file.is_ignored or file.path in _OF_BUILDER:
            continue
        top = next((d for d in _parents(file.path) if d and d not in needed), file.path)
        count, size_bytes = sums.get(top, (0, 0))
        sums[top] = count + 1, size_bytes + file.size_bytes
    found = [Suggestion(_line(path), *total) for path, total in sums.items()]
    return tuple(sorted(found, key=lambda one: (-one.size_bytes, one.line)))


def _report(directory: str, inputs: Inputs, readers: Mapping[str, tuple[str, ...]]) -> ContextFiles:
    matcher = IgnoreMatcher(inputs.main.patterns)
    files: list[ContextFile] = []
    sums: dict[str, tuple[int, int]] = {}
    for path, size_bytes in _walk(directory):
        decided = matcher.deciding(path) if inputs.main.patterns else None
        pattern, is_ignored = decided or ("", False)
        files.append(ContextFile(path, size_bytes, pattern, is_ignored, readers.get(path, ())))
        if is_ignored:
            count, total = sums.get(pattern, (0, 0))
            sums[pattern] = count + 1, total + size_bytes
    files.sort(key=lambda file: (-file.size_bytes, file.path))
    hidden = [Hidden(pattern, *total) for pattern, total in sums.items()]
    hidden.sort(key=lambda one: (-one.size_bytes, one.pattern))
    return ContextFiles(tuple(files), tuple(hidden), suggestions(files))


def _walk(directory: str) -> Iterator[tuple[str, int]]:
    """Go through all files, links not followed; what cannot be listed is passed over."""
    pending = [""]
    while pending:
        below = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(directory, below)))
        except OSError:
            continue
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if S_ISDIR(status.st_mode):
                pending.append(path)
            else:
                yield path, status.st_size


def _readers(order: Iterable[Vertex], tree: ContextTree) -> dict[str, tuple[str, ...]]:
    """Tell by path which steps read a file of the main context."""
    found: dict[str, tuple[str, ...]] = {}
    for vertex in order:
        for needed in vertex.inputs:
            if not isinstance(needed.vertex.op, Context) or needed.vertex.op.name != MAIN_CONTEXT:
                continue
            for selector in needed.selectors or (Selector("/"),):
                for path in _paths(tree, selector):
                    names = found.get(path, ())
                    if vertex.name not in names:
                        found[path] = (*names, vertex.name)
    return found


def _paths(tree: ContextTree, selector: Selector) -> Iterator[str]:
    try:
        for node in tree.visited(selector):
            yield node.path
    except NotFound:
        return


def _stand_ins(needs: Needs, pins: Pins) -> Pins:
    """Pin what is missing to nothing in particular."""
    images = {
        (need.name, need.platform): ImagePin(
            digest_of(need.name.encode()),
            ImageConfig(need.platform, diff_ids=(digest_of(need.name.encode()),)),
            need.name,
        )
        for need in needs.images
    }
    urls = {need.url: HttpPin(digest_of(need.url.encode())) for need in needs.urls}
    gits = {(need.remote, need.ref): GitPin(_COMMIT, 0) for need in needs.gits}
    return Pins({**pins.images, **images}, {**pins.urls, **urls}, {**pins.gits, **gits})


def _parents(path: str) -> Iterator[str]:
    """Give the directories that lead to a path, the topmost first."""
    position = path.find("/")
    while position >= 0:
        yield path[:position]
        position = path.find("/", position + 1)


def _line(path: str) -> str:
    """Write a path as a pattern that matches it alone."""
    escaped = "".join(f"\\{c}" if c in _SPECIAL else c for c in path)
    return f"\\{escaped}" if escaped[:1] in {"#", "!"} else escaped
