"""Leave behind what `cli.fast` needs to answer the same build from memory."""

import marshal
import os
import sys
from collections.abc import Callable, Sequence
from heapq import nlargest
from stat import S_ISREG

from builder.cli import fast
from builder.cli.session import Session
from builder.engine.request import Built
from builder.engine.watched import Watched

MAX_STATES = 200
MANY_FILES = 1000
NEWEST_FILES = 50


def state_writer(session: Session, built: Built, *, is_quiet: bool) -> Callable[[], None] | None:
    """Give what writes the state file of this invocation, to be done when there is time for it.

    Files that changed just before they were read keep it from being written: their stats may not
    tell of another change in the same instant. None if a state file could not answer this build.
    """
    watched = built.watched
    if watched is None or not (built.image_id or built.digest):
        return None
    root = os.fsencode(session.settings.root)
    answer = f"{built.image_id or built.digest}\n".encode() if is_quiet else b""
    shown = b"" if is_quiet else _shown(built, is_plain=not os.isatty(session.stderr))
    try:
        identity, generation = fast.identity_of(sys.argv[1:]), fast.generation_of(root)
    except OSError:
        return None

    def write() -> None:
        seen = _packed(watched)
        if seen is not None:
            state = (fast.FORMAT, identity, generation, *seen, answer, shown)
            content = marshal.dumps(state)  # type: ignore[arg-type]  # it is of what marshal takes
            keep(fast.state_path(root, identity), content)

    return write


def _packed(watched: Watched) -> "tuple[fast.Files, fast.Roots] | None":
    """Pack the files and roots that were read; None if one of them had just changed."""
    files: list[tuple[bytes, bytes]] = []
    for path, status in watched.files:
        if status is not None and not fast.is_settled(status, watched.since_ns):
            return None
        files.append((os.fsencode(path), b"" if status is None else fast.packed(status)))
    roots = []
    for path, seen in watched.roots:
        listed = list(seen())
        packed = _packed_root(path, listed, watched.since_ns)
        if packed is None:
            return None
        roots.append(packed)
        files += _newest(path, listed)
    return tuple(files), tuple(roots)


def _newest(folder: str, seen: Sequence[tuple[str, os.stat_result]]) -> list[tuple[bytes, bytes]]:
    """Pick the files that changed last: they are looked at first, for they will change again."""
    if len(seen) <= MANY_FILES:
        return []
    files = [one for one in seen if S_ISREG(one[1].st_mode)]
    newest = nlargest(NEWEST_FILES, files, key=lambda one: one[1].st_mtime_ns)
    return [(os.fsencode(f"{folder}/{path}"), fast.packed(status)) for path, status in newest]


def _packed_root(
    path: str, seen: Sequence[tuple[str, os.stat_result]], since_ns: int
) -> "tuple[bytes, tuple[fast.Chunk, ...]] | None":
    if not all(fast.is_settled(status, since_ns) for _path, status in seen):
        return None
    chunks = []
    for start in range(0, len(seen), fast.CHUNK_PATHS):
        some = seen[start : start + fast.CHUNK_PATHS]
        names = b"\0".join(os.fsencode(name or ".") for name, _status in some)
        chunks.append((names, fast.stamp(status for _name, status in some)))
    return os.fsencode(path), tuple(chunks)


def _shown(built: Built, *, is_plain: bool) -> bytes:
    """Say what the ordinary way would have said of a build in which all is cached."""
    from builder.cli.warnings import grouped

    warnings = "".join(f"{line}\n" for line in grouped(built.warnings))
    if is_plain:
        steps = [f"#{n} {name}\n#{n} CACHED\n" for n, name in enumerate(built.steps, 1)]
        shown = "\n".join(steps)
    else:
        shown = f"nothing changed ({len(built.steps)} steps)\n"
    return f"{shown}{warnings}".encode("utf-8", "surrogateescape")


def keep(path: bytes, content: bytes) -> None:
    """Replace a state file, and thin out the folder when it has grown."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    temporary = path + b".%d" % os.getpid()
    with open(temporary, "xb") as stream:
        stream.write(content)
    os.replace(temporary, path)
    states = os.listdir(folder)
    if len(states) > MAX_STATES:
        oldest = sorted(states, key=lambda name: os.stat(os.path.join(folder, name)).st_mtime_ns)
        for name in oldest[: len(states) // 2]:
            os.unlink(os.path.join(folder, name))
