"""The files of a container that `instant` runs: its directory and name, state, events, and lease.

They are what `containers.records`, `containers.journal` and `store.leases` write, and they read
them; here the texts of a recipe are written, with values where it has marks. As in `fast`, only
built-in modules are imported.
"""

import fcntl
import posix
import time

CREATE, START, DIE, DESTROY = range(4)
_CHUNK_BYTES = 1 << 16
_JOURNAL_BYTES = 4 << 20
_NEW = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ContainerFiles:
    """The files of one container, from its beginning to its end."""

    def __init__(self, root: str, papers: "tuple[Any, ...]", layer: tuple[int, int, int]) -> None:
        """Choose the id; nothing is made yet. `layer`: mode and owners of the root directory."""
        former_id, self._token, self._name, self._words, self._lease, self._sweep, *texts = papers
        self._config, self._created, self._running, self._exited, self._events = texts
        self._former_id = former_id.encode()
        self._layer = layer
        self._root = root
        self.id = _new_id()
        self._directory = f"{self._root}/containers/{self.id}"
        self._values: dict[bytes, bytes] = {}
        pid = posix.getpid()
        self._set(created=_now(), monitor_pid=pid, monitor_ticks=_ticks(pid))
        self.lease_path = self._name_path = ""
        self._lease_fd = -1

    def started(self, pid: int) -> None:
        """Write that the container runs."""
        self._set(pid=pid, ticks=_ticks(pid), started_at=_now())
        self._save(self._running)
        self._note(CREATE, START)

    def ended(self, status: int) -> None:
        """Write that the container has ended, and take everything away."""
        self._set(exit_code=status, finished_at=_now())
        self._note(DIE)
        self._save(self._exited)
        self.discard()
        self._note(DESTROY)
        self.unpin()

    def named(self, content: bytes) -> bytes:
        """Put this container's id where the former one's is."""
        return content.replace(self._former_id, self.id.encode())

    def _set(self, **values: object) -> None:
        for mark, value in values.items():
            self._values[mark.encode()] = str(value).encode()

    def _filled(self, text: bytes) -> bytes:
        """Put values where marks are; that of a number stands in quotes, which go with it."""
        text = self.named(text)
        for name, value in self._values.items():
            text = text.replace(b'"%s#%s"' % (self._token, name), value)
            text = text.replace(self._token + name, value)
        return text

    def pin(self) -> bool:
        """Keep collection away from the image, as `store.leases` does; False if it was faster."""
        lock = posix.open(f"{self._root}/lock", posix.O_RDWR | posix.O_CREAT | posix.O_CLOEXEC)
        try:
            fcntl.fcntl(lock, fcntl.F_OFD_SETLK, self._sweep)
            path = f"{self._root}/leases/{posix.getpid()}-{posix.urandom(4).hex()}-0"
            self._lease_fd = posix.open(path, _NEW | posix.O_APPEND, 0o600)
            self.lease_path = path
            fcntl.flock(self._lease_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            posix.write(self._lease_fd, self._lease)
            return posix.fstat(self._lease_fd).st_nlink == 1
        finally:
            posix.close(lock)

    def unpin(self) -> None:
        """Give the lease back."""
        if self._lease_fd >= 0:
            posix.unlink(self.lease_path)
            posix.close(self._lease_fd)

    def make(self) -> None:
        """Make the directory with the writable layer, take the name, say what the container is."""
        mode, uid, gid = self._layer
        layer = f"{self._directory}/layer"
        posix.mkdir(self._directory, 0o700)
        posix.mkdir(layer, 0o700)
        posix.mkdir(f"{layer}/diff", 0o755)
        posix.mkdir(f"{layer}/work", 0o700)
        posix.close(posix.open(f"{layer}/diff/.dockerenv", _NEW, 0o755))
        posix.chmod(f"{layer}/diff", mode)
        if uid or gid:
            posix.chown(f"{layer}/diff", uid, gid)
        self._claim()
        self._write("state.json", self._filled(self._created))  # first, or nobody would sweep it
        self._write("config.json", self._filled(self._config))

    def _claim(self) -> None:
        """Take a name. One that is taken, or whose holder vanished, is the ordinary way's."""
        name = self._name or _made_up(self._words)
        path = f"{self._root}/container-names/{name}"
        posix.symlink(self.id, path)
        self._name_path = path
        self._set(name=name)

    def discard(self) -> None:
        """Forget the container, unless somebody else has done so."""
        try:
            if self._name_path and posix.readlink(self._name_path) == self.id:
                posix.unlink(self._name_path)
        except FileNotFoundError:
            pass
        try:
            posix.rename(self._directory, f"{self._root}/trash/{self.id}-{posix.getpid()}")
        except FileNotFoundError:
            return

    def _save(self, state: bytes) -> None:
        """Replace the state; on a full disk the container goes on without."""
        temporary = f"state.json.{posix.getpid()}.new"
        try:
            self._write(temporary, self._filled(state))
            posix.rename(f"{self._directory}/{temporary}", f"{self._directory}/state.json")
        except OSError:
            return

    def _write(self, name: str, content: bytes) -> None:
        fd = posix.open(f"{self._directory}/{name}", _NEW, 0o600)
        try:
            posix.write(fd, content)
        finally:
            posix.close(fd)

    def _note(self, *actions: int) -> None:
        """Append events, as `containers.journal` does."""
        self._set(now=time.time_ns())
        path, flags = f"{self._root}/events.jsonl", posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND
        try:
            fd = posix.open(path, flags | posix.O_CLOEXEC, 0o600)
            for action in actions:
                posix.write(fd, self._filled(self._events[action]))
            if posix.fstat(fd).st_size > _JOURNAL_BYTES:
                posix.rename(path, f"{path}.1")
            posix.close(fd)
        except OSError:
            return


def _new_id() -> str:
    """Make a container id; its first 12 digits are not all decimal, for they may name a host."""
    while True:
        identifier = posix.urandom(32).hex()
        if not identifier[:12].isdigit():
            return identifier


def _made_up(words: tuple[str, str]) -> str:
    """Make up a name, as `containers.names`."""
    first, second = (text.split() for text in words)
    number = int.from_bytes(posix.urandom(8), "little")
    return f"{first[number % len(first)]}_{second[number // len(first) % len(second)]}"


def _now() -> str:
    """Give the present moment in UTC, as `containers.model.now`."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z"


def _ticks(pid: int) -> int:
    """Give the moment a process started, as `networks.model.start_ticks`."""
    return int(text_of(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19])


def text_of(path: str) -> bytes:
    """Read a small file."""
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        return all_of(fd)
    finally:
        posix.close(fd)


def all_of(fd: int) -> bytes:
    """Read to the end."""
    content = b""
    while piece := posix.read(fd, _CHUNK_BYTES):
        content += piece
    return content
