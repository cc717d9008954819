"""What happened to containers, volumes and networks: one JSON object a line, for `events`.

Appended without locks: a line is one write. The file is renamed to `.1` when it has grown large.
"""

import os
import time

from builder import jsonvalues
from builder.containers.model import Container
from builder.values import NamedTuple

FILE = "events.jsonl"
_MAX_BYTES = 4 << 20


class Happening(NamedTuple):
    """One event, in Docker's terms; `time_ns` since the epoch."""

    type: str
    action: str
    id: str
    attributes: dict[str, str]
    time_ns: int


class Journal:
    """Appends events of one store."""

    def __init__(self, root: str) -> None:
        """Keep the place; the file is made with the first event."""
        self.path = f"{root}/{FILE}"

    def container(self, action: str, container: Container, **more: str) -> None:
        """Record something that happened to a container."""
        attributes = {"name": container.name, "image": container.image}
        attributes.update(container.config.labels)
        attributes.update(more)
        self.record("container", action, container.id, attributes)

    def record(self, kind: str, action: str, identifier: str, attributes: dict[str, str]) -> None:
        """Record anything; failing to is nobody's failure."""
        happening = Happening(kind, action, identifier, attributes, time.time_ns())
        line = (jsonvalues.dumps(happening) + "\n").encode("utf-8", "surrogateescape")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(self.path, flags, 0o600)
            try:
                os.write(fd, line)
                if os.fstat(fd).st_size > _MAX_BYTES:
                    os.replace(self.path, f"{self.path}.1")
            finally:
                os.close(fd)
        except OSError:
            return
