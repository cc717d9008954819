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
        self.record("container", action, container.id, attributes_of(container, **more))

    def record(self, kind: str, action: str, identifier: str, attributes: dict[str, str]) -> None:
        """Record anything; failing to is nobody's failure."""
        line = line_of(Happening(kind, action, identifier, attributes, time.time_ns()))
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

    def status_of(self, container_id: str) -> int | None:
        """Find the exit status with which a container ended the last time; None if unknown."""
        wanted = container_id.encode()
        for path in (self.path, f"{self.path}.1"):
            for line in reversed(_lines(path)):
                if wanted in line and b'"die"' in line:
                    happening = jsonvalues.decode(Happening, jsonvalues.loads(line.decode()))
                    if happening.action == "die" and happening.id == container_id:
                        return int(happening.attributes["exitCode"])
        return None


def _lines(path: str) -> list[bytes]:
    try:
        with open(path, "rb") as file:
            return file.read().splitlines()
    except OSError:
        return []


def attributes_of(container: Container, **more: str) -> dict[str, str]:
    """Give what an event says of a container."""
    return {
        "name": container.name,
        "image": container.image,
        **dict(container.config.labels),
        **more,
    }


def line_of(happening: Happening) -> bytes:
    """Write an event as a line of the file."""
    return f"{jsonvalues.dumps(happening)}\n".encode("utf-8", "surrogateescape")
