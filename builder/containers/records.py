"""Containers on disk, one directory each, readable and changeable by any process.

    containers/<id>/config.json   a Container; replaced only under the container's lock
    containers/<id>/state.json    a State; written by the monitor, under the lock if there is none
    containers/<id>/lock          held (flock) by whoever changes what the container is
    container-names/<name>        a link whose text is the id: the names that are taken

Nothing is synced: after a power cut no container runs, and one that was made in the last seconds
may be gone. A container that claims to run but whose monitor is dead has ended.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from builder import jsonvalues
from builder.containers.model import EXIT_LOST, Container, State, has_monitor, now
from builder.containers.names import random_name
from builder.errors import Conflict, KernelError, NotFound
from builder.networks.model import check_name
from builder.values import NamedTuple

_MAX_ATTEMPTS = 20
_HALF_MADE_S = 600.0
_CREATED = State()
PAUSED = "paused"
"""The note that all processes are frozen."""


class Record(NamedTuple):
    """A container and its state at one moment."""

    container: Container
    state: State


class Records:
    """All containers of a store."""

    def __init__(self, root: str) -> None:
        """Keep the places; they are made when first needed."""
        self._directory = f"{root}/containers"
        self._names = f"{root}/container-names"
        self._trash = f"{root}/trash"

    def path(self, container_id: str, *names: str) -> str:
        """Name a file of a container."""
        return "/".join((self._directory, container_id, *names))

    def claim(self, name: str, container_id: str) -> str:
        """Take a name for a container, a made-up one if it is empty; raise Conflict if taken."""
        if name:
            check_name(name, "container")
            if not self._take(name, container_id):
                holder = os.readlink(f"{self._names}/{name}")
                raise Conflict(
                    f"the container name {name} is already in use by container {holder}",
                    fix=f"remove it with `builder rm {name}`, or choose another name",
                )
            return name
        for attempt in range(_MAX_ATTEMPTS):
            made_up = random_name(attempt)
            if self._take(made_up, container_id):
                return made_up
        return self.claim(container_id[:32], container_id)

    def prepare(self, container_id: str) -> None:
        """Make a new container's directory, before its name is claimed."""
        os.makedirs(self.path(container_id), 0o700)

    def create(self, container: Container, state: State = _CREATED) -> None:
        """Write a new container, whose directory and name are there already.

        One whose state names a monitor is swept if that dies before the start.
        """
        self.save_state(container.id, state)
        self.save(container)

    def save(self, container: Container) -> None:
        """Replace what a container is."""
        jsonvalues.write(container, self.path(container.id, "config.json"))

    def save_state(self, container_id: str, state: State) -> None:
        """Replace where a container stands."""
        jsonvalues.write(state, self.path(container_id, "state.json"))

    def rename(self, container: Container, name: str) -> Container:
        """Give a container another name; raise Conflict if it is taken."""
        self.claim(name or container.name, container.id)
        renamed = container._replace(name=name)
        self.save(renamed)
        self.forget_name(container.name, container.id)
        return renamed

    def remove(self, container: Container) -> None:
        """Forget a container and its files; what is large is deleted later."""
        self.forget_name(container.name, container.id)
        self.discard(container.id)

    def discard(self, container_id: str) -> None:
        """Move a container's directory into the trash; nothing if there is none."""
        try:
            os.rename(self.path(container_id), f"{self._trash}/{container_id}-{os.getpid()}")
        except FileNotFoundError:
            return

    def sweep_half_made(self) -> None:
        """Discard what was begun a while ago and never became a container: its maker was killed."""
        for name in self._identifiers():
            path = self.path(name)
            try:
                age_s = time.time() - os.stat(path).st_mtime
            except FileNotFoundError:
                continue
            if age_s > _HALF_MADE_S and not os.path.exists(f"{path}/config.json"):
                self.discard(name)

    def all(self) -> list[Record]:
        """List all containers, the newest first."""
        found = [record for i in self._identifiers() if (record := self._read(i)) is not None]
        return sorted(found, key=lambda record: record.container.created, reverse=True)

    def get(self, text: str) -> Record:
        """Find a container by name, id, or unique beginning of its id; raise NotFound."""
        record = self._read(self.find(text))
        if record is None:
            raise _no_such(text)
        return record

    def find(self, text: str) -> str:
        """Find a container's id; raise NotFound, or Conflict if several ids begin so."""
        name = text.removeprefix("/")
        if name and "/" not in name and name not in {".", ".."}:
            try:
                return os.readlink(f"{self._names}/{name}")
            except OSError:
                pass
        matches = [i for i in self._identifiers() if i.startswith(name)] if name else []
        if len(matches) > 1:
            raise Conflict(f"several containers have an id that starts with {name!r}")
        if not matches:
            raise _no_such(text)
        return matches[0]

    @contextmanager
    def locked(self, container_id: str) -> Iterator[None]:
        """Hold the lock that guards what a container is; raise NotFound if it has gone."""
        import fcntl

        try:
            path = self.path(container_id, "lock")
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            raise _no_such(container_id) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not os.path.exists(self.path(container_id, "config.json")):
                raise _no_such(container_id)
            yield
        finally:
            os.close(fd)

    def mark(self, container_id: str, name: str, *, is_set: bool) -> None:
        """Leave a note for the monitor, or take it away: an empty file."""
        path = self.path(container_id, name)
        try:
            if is_set:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            else:
                os.unlink(path)
        except FileNotFoundError:
            return

    def is_marked(self, container_id: str, name: str) -> bool:
        """Tell whether a note is there."""
        return os.path.exists(self.path(container_id, name))

    def _identifiers(self) -> list[str]:
        try:
            return os.listdir(self._directory)
        except FileNotFoundError:
            return []

    def _read(self, container_id: str) -> Record | None:
        container = jsonvalues.read(Container, self.path(container_id, "config.json"))
        if container is None:
            return None
        state = jsonvalues.read(State, self.path(container_id, "state.json")) or State()
        if state.is_alive and not has_monitor(state):
            # read again: the monitor may have ended between the two looks
            state = jsonvalues.read(State, self.path(container_id, "state.json")) or State()
            if state.is_alive and not has_monitor(state):
                state = state._replace(
                    status="exited",
                    exit_code=EXIT_LOST,
                    pid=0,
                    ticks=0,
                    finished_at=now(),
                    ports=(),
                )
        if state.status == "running" and self.is_marked(container_id, PAUSED):
            state = state._replace(status="paused")
        return Record(container, state)

    def _take(self, name: str, container_id: str) -> bool:
        """Link a name, also if its holder vanished half-made."""
        if self._link(name, container_id):
            return True
        holder = os.readlink(f"{self._names}/{name}")
        if os.path.isdir(self.path(holder)):
            return False
        self.forget_name(name, holder)
        return self._link(name, container_id)

    def _link(self, name: str, container_id: str) -> bool:
        for attempt in range(2):
            try:
                os.symlink(container_id, f"{self._names}/{name}")
            except FileExistsError:
                return False
            except FileNotFoundError:
                if attempt:
                    raise
                os.makedirs(self._names, 0o700, exist_ok=True)
            except OSError as error:
                raise KernelError("symlink", error.errno or 0, name) from None
            else:
                return True
        return False

    def forget_name(self, name: str, container_id: str) -> None:
        """Give a name back, unless another container has it by now."""
        path = f"{self._names}/{name}"
        try:
            if os.readlink(path) == container_id:
                os.unlink(path)
        except FileNotFoundError:
            return


def _no_such(text: str) -> NotFound:
    return NotFound(f"No such container: {text}", fix="see `builder ps -a`")
