"""What a project's last build was made of: each step's fields, files and duration.

One file for each project (a context, a Dockerfile, a target), below `journals/`. It is a hint: it
explains misses and foretells durations, and losing it costs nothing else. It is read and written
only by builds in which something ran.
"""

import marshal
import os
import time
from collections.abc import Iterable, Mapping

from builder.engine.observer import Observer
from builder.engine.request import STDIN, BuildRequest
from builder.errors import StoreError
from builder.graph.describe import Fields, described
from builder.graph.ops import Context, Scratch
from builder.graph.vertex import Selector, Vertex
from builder.layers.brief import Briefs
from builder.oci.digest import Digest, hex_of, key, sha256
from builder.store import atomic
from builder.store.store import Store
from builder.values import NamedTuple

FORMAT = "journal/2"
FOLDER = "journals"
MAX_BYTES = 64 << 20
MAX_JOURNALS = 300
_DIGEST_BYTES = 32


class Read(NamedTuple):
    """What a step reads of another one, or of a context: its whole lineage if no selectors."""

    source: int
    """The position of the step that is read."""
    context: str | None
    """The name of a context, if it is one."""
    selectors: tuple[Selector, ...] | None


class Step(NamedTuple):
    """One vertex of the graph as it was when it was built."""

    name: str
    kind: str
    fields: Fields
    reads: tuple[Read, ...]
    fast: str
    """Its fast key; empty if the build ended before it was done."""
    duration_ms: int | None
    """How long it took when it last ran."""


class Journal(NamedTuple):
    """The last build of a project: its steps, inputs first, and the files that they read."""

    time_s: int
    steps: tuple[Step, ...]
    contexts: Mapping[str, Briefs]
    roots: Mapping[str, Briefs]
    """Files read of steps' results, by the digest of what was read."""


def journal_path(store: Store, request: BuildRequest) -> str:
    """Name the journal of the project that a request builds."""
    is_place = request.context != STDIN and "://" not in request.context
    place = os.path.realpath(request.context) if is_place else request.context
    names = "" if is_place else " ".join(request.tags)
    dockerfile = request.dockerfile or ""
    if dockerfile not in {"", STDIN}:
        dockerfile = os.path.abspath(dockerfile)
    platforms = " ".join(str(platform) for platform in request.platforms)
    project = key("project/1", place, dockerfile, request.target or "", platforms, names)
    return store.path(FOLDER, hex_of(project))


def taken(
    order: Iterable[Vertex],
    fast: Mapping[Vertex, Digest],
    observer: Observer,
    arguments: frozenset[str],
    previous: Journal | None,
) -> tuple[Step, ...]:
    """Describe the steps of a build that has ended, well or not; `order` has inputs first."""
    known = {} if previous is None else {step.name: step.duration_ms for step in previous.steps}
    position: dict[Vertex, int] = {}
    steps: list[Step] = []
    for vertex in order:
        position[vertex] = len(steps)
        reads = tuple(
            Read(
                position[one.vertex],
                one.vertex.op.name if isinstance(one.vertex.op, Context) else None,
                one.selectors,
            )
            for one in vertex.inputs
        )
        duration_ns = observer.durations_ns.get(vertex.digest)
        is_done = (
            duration_ns is not None
            or vertex.digest in observer.hits
            or isinstance(vertex.op, Context | Scratch)
        )
        steps.append(
            Step(
                vertex.name,
                type(vertex.op).__name__.lower(),
                described(vertex.op, arguments),
                reads,
                fast.get(vertex, "") if is_done else "",
                known.get(vertex.name) if duration_ns is None else duration_ns // 1_000_000,
            )
        )
    return tuple(steps)


def read(path: str) -> Journal | None:
    """Read a journal; None if there is none, or none that is whole."""
    try:
        content = atomic.read(path, MAX_BYTES)
    except (OSError, StoreError):
        return None
    if content is None or sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
        return None
    try:
        found = marshal.loads(content[_DIGEST_BYTES:])  # noqa: S302 - checked, and this user's own
        if found[0] != FORMAT:
            return None
        steps = tuple(_step(fields) for fields in found[2])
        return Journal(found[1], steps, found[3], found[4])
    except (ValueError, EOFError, TypeError, IndexError):
        return None


def write(path: str, journal: Journal) -> None:
    """Replace a journal, and thin out the folder when it has grown; not made durable."""
    packed = marshal.dumps(
        (
            FORMAT,
            journal.time_s,
            [_plain(step) for step in journal.steps],
            {name: dict(briefs) for name, briefs in journal.contexts.items()},
            {name: dict(briefs) for name, briefs in journal.roots.items()},
        )
    )
    if len(packed) + _DIGEST_BYTES > MAX_BYTES:
        return
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        atomic.write(path, sha256(packed).digest() + packed, is_durable=False)
        _thin_out(folder)
    except (OSError, StoreError):
        return  # a full disk explains nothing, and breaks nothing


def now_s() -> int:
    """Tell the time of a journal."""
    return int(time.time())


def _thin_out(folder: str) -> None:
    names = os.listdir(folder)
    if len(names) > MAX_JOURNALS:
        paths = [os.path.join(folder, name) for name in names]
        for path in sorted(paths, key=lambda path: os.stat(path).st_mtime_ns)[: len(paths) // 2]:
            os.unlink(path)


def _plain(step: Step) -> tuple[object, ...]:
    """Turn a step into what marshal takes: plain tuples."""
    reads = tuple(
        (
            one.source,
            one.context,
            None if one.selectors is None else tuple(tuple(s) for s in one.selectors),
        )
        for one in step.reads
    )
    fields = tuple(tuple(field) for field in step.fields)
    return (step.name, step.kind, fields, reads, str(step.fast), step.duration_ms)


def _step(packed: tuple[object, ...]) -> Step:
    step = Step._make(packed)
    reads = tuple(
        Read(
            source,
            context,
            None if selectors is None else tuple(Selector._make(s) for s in selectors),
        )
        for source, context, selectors in step.reads
    )
    return step._replace(reads=reads)
