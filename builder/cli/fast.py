"""Answer an unchanged build at once: start-up, a few hundred lstat calls, done.

A build that could be repeated without looking at anything but local files leaves a state file: the
command line, what it read of the client with the stats of the moment it was read, the store's
generation, and the answer. If all of that is as it was, so is the image. On any doubt the ordinary
way is taken. Nothing but built-in modules is imported here: this is the whole time that a user
waits for who changed nothing. `instant` does for `run` what this does for `build`.
"""

import marshal
import posix

FORMAT = "fast/3"
FOLDER = "fast"
MAX_STATE_BYTES = 256 << 20
RACY_NS = 20_000_000
CHUNK_PATHS = 250
SPLIT_CHUNKS = 20
"""From so many on, two processes look at a tree's paths."""
SIGKILL = 9
SYSTEM_ROOT = b"/var/lib/builder"
ENVIRONMENT = (
    b"BUILDER_ROOT", b"HOME", b"XDG_DATA_HOME", b"SOURCE_DATE_EPOCH", b"BUILDKIT_PROGRESS",
    b"NO_COLOR", b"TERM", b"COLUMNS",
)  # fmt: skip
DOUBTS = (OSError, ValueError, EOFError, TypeError, IndexError)
"""What reading a state file raises that is damaged, or of another version."""
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Files = tuple[tuple[bytes, bytes], ...]
    Chunk = tuple[bytes, int]
    """Paths with NUL between them, and what `stamp` made of them."""
    Roots = tuple[tuple[bytes, tuple[Chunk, ...]], ...]
    State = tuple[str, tuple[object, ...], tuple[int, int, int], Files, Roots, bytes, bytes]


def answer(words: list[str]) -> int | None:
    """Do at once what was done before; the exit status, None if that has to be found out."""
    if "build" in words[:4]:
        return _built(words)
    if "run" in words[:4]:
        from builder.cli import instant

        return instant.answer(words)
    return None


def _built(words: list[str]) -> int | None:
    """Give the known answer to a repeated build; None if there is none that still holds."""
    try:
        identity = identity_of(words)
        state: State | None = read_state(state_path(root_of(words, "build"), identity))
        if state is None or state[0] != FORMAT or state[1] != identity:
            return None
        _format, _identity, generation, files, roots, stdout, stderr = state
        if generation_of(root_of(words, "build")) != generation or not _holds(files, roots):
            return None
    except DOUBTS:
        return None
    _write(2, stderr)
    _write(1, stdout)
    return 0


def identity_of(words: list[str]) -> tuple[object, ...]:
    """Name an invocation: its words and all around it that could change their meaning."""
    own = posix.stat(__file__)
    return (
        tuple(words),
        posix.getcwdb(),
        tuple(posix.environ.get(name) for name in ENVIRONMENT),
        posix.isatty(2),
        own.st_mtime_ns,
        own.st_ino,
    )


def state_path(root: bytes, identity: tuple[object, ...]) -> bytes:
    """Name the state file of an invocation."""
    mixed = 0xCBF29CE484222325
    for byte in repr(identity).encode("utf-8", "surrogateescape"):
        mixed = (mixed ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return b"%s/%s/%016x" % (root, FOLDER.encode(), mixed)


def generation_of(root: bytes) -> tuple[int, int, int]:
    """Tell states of the store apart: every change of its images replaces this file."""
    status = posix.stat(root + b"/content/index.json")
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def packed(status: posix.stat_result) -> bytes:
    """Pack what identifies a state of a file."""
    return b"%d %d %d %d %d" % (
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_ino,
    )


def stamp(statuses: "Iterable[posix.stat_result]") -> int:
    """Make one number of the states of many files: another one, but for an accident in 2**64.

    It is the same in every process: hashes of integers are not randomized.
    """
    numbers = [
        (one.st_mode, one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino) for one in statuses
    ]
    return hash(tuple(numbers))


def state_of(path: bytes) -> bytes:
    """Pack the state of a path; nothing if it is absent."""
    try:
        return packed(posix.stat(path))
    except OSError:
        return b""


def is_settled(status: posix.stat_result, since_ns: int) -> bool:
    """Whether a file last changed safely before it was read: its stats tell of any change."""
    return max(status.st_mtime_ns, status.st_ctime_ns) + RACY_NS < since_ns


def root_of(words: list[str], command: str) -> bytes:
    """Find the state directory, as `engine.settings` does; `command` ends the global options."""
    root = posix.environ.get(b"BUILDER_ROOT", b"")
    for index, word in enumerate(words):
        if word == command:
            break
        if word == "--root":
            root = words[index + 1].encode("utf-8", "surrogateescape")
        elif word.startswith("--root="):
            root = word[7:].encode("utf-8", "surrogateescape")
    if root:
        return root if root.startswith(b"/") else posix.getcwdb() + b"/" + root
    if posix.getuid() == 0:
        return SYSTEM_ROOT
    data = posix.environ.get(b"XDG_DATA_HOME")
    return (data or posix.environ[b"HOME"] + b"/.local/share") + b"/builder"


def read_state(path: bytes) -> "Any":
    """Read a state file of this user; None if it is another's. Raises one of DOUBTS."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    try:
        status = posix.fstat(fd)
        if status.st_uid != posix.getuid() or status.st_size > MAX_STATE_BYTES:
            return None
        content = b""
        while len(content) < status.st_size:
            piece = posix.read(fd, status.st_size - len(content))
            if not piece:
                return None
            content += piece
    finally:
        posix.close(fd)
    return marshal.loads(content)  # noqa: S302 - a file that only this user can have written


def _holds(files: "Files", roots: "Roots") -> bool:
    """Compare everything that was read with what is there; an absent file packs to nothing."""
    for path, known in files:
        if state_of(path) != known:
            return False
    for root, chunks in roots:
        compare = _same if len(chunks) < SPLIT_CHUNKS else _same_in_two
        if not compare(root, chunks):
            return False
    return True


def _same(root: bytes, chunks: "Sequence[Chunk]") -> bool:
    """Look at some paths at a time, so that a change is noticed early."""
    try:
        fd = posix.open(root, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        for names, known in chunks:
            if stamp([posix.lstat(path, dir_fd=fd) for path in names.split(b"\0")]) != known:
                return False
    except OSError:
        return False
    finally:
        posix.close(fd)
    return True


def _same_in_two(root: bytes, chunks: "Sequence[Chunk]") -> bool:
    """Halve the wait for a large tree with a second process.

    What is in the chunks is unpacked after the fork: there is little that the two would share.
    """
    middle = len(chunks) // 2
    child = posix.fork()
    if child == 0:
        posix._exit(0 if _same(root, chunks[middle:]) else 1)  # noqa: SLF001 - the documented way out of a fork
    is_same = _same(root, chunks[:middle])
    if not is_same:
        posix.kill(child, SIGKILL)
    _pid, status = posix.waitpid(child, 0)
    return is_same and status == 0


def _write(descriptor: int, content: bytes) -> None:
    while content:
        try:
            content = content[posix.write(descriptor, content) :]
        except OSError:
            return
