r"""The log of a container: one JSON object a line, as Docker's json-file driver writes it.

    {"log":"text\\n","stream":"stdout","time":"2024-01-02T03:04:05.000000006Z"}

A record is one line of output, or 16 KiB of a longer one without the line feed. The file is made
with the first output. When it grows beyond its limit it is renamed to `.1`, and so on.
"""

import os
import time
from _json import encode_basestring
from collections.abc import Iterator

from builder import jsonvalues
from builder.containers.model import parse_time, rfc3339
from builder.values import NamedTuple

RECORD_BYTES = 16 << 10
FILE = "container.log"
_CHUNK_BYTES = 64 << 10


class LogRecord(NamedTuple):
    """One record as it stands in the file."""

    log: str
    stream: str
    time: str


class LogWriter:
    """Appends output to a log; keeps the unfinished line of each stream until it is whole."""

    def __init__(self, path: str, *, max_bytes: int = 0, max_files: int = 1) -> None:
        """Write to a path; 0 bytes means no limit."""
        self._path = path
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._fd = -1
        self._size = 0
        self._partial: dict[str, bytes] = {}

    def write(self, stream: str, content: bytes) -> None:
        """Log what a stream brought, in pieces of any size."""
        held = self._partial.pop(stream, b"") + content
        stamp = rfc3339(time.time_ns())
        out = []
        lines = held.split(b"\n")
        last = lines.pop()
        for line in lines:
            out += _records(line + b"\n", stream, stamp)
        while len(last) >= RECORD_BYTES:
            head, last = _split(last)
            out.append(_record(head, stream, stamp))
        if last:
            self._partial[stream] = last
        if out:
            self._append("".join(out))

    def flush(self) -> None:
        """Write the unfinished lines as they are."""
        stamp = rfc3339(time.time_ns())
        for stream, content in self._partial.items():
            self._append(_record(content, stream, stamp))
        self._partial.clear()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, text: str) -> None:
        content = memoryview(text.encode("utf-8", "surrogateescape"))
        if self._fd < 0:
            self._open()
        if self._max_bytes and self._size and self._size + len(content) > self._max_bytes:
            self._rotate()
        self._size += len(content)
        while content:
            content = content[os.write(self._fd, content) :]

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        os.close(self._fd)
        for number in range(self._max_files - 1, 0, -1):
            older = self._path if number == 1 else f"{self._path}.{number - 1}"
            if os.path.exists(older):
                os.replace(older, f"{self._path}.{number}")
        if self._max_files == 1:
            os.truncate(self._path, 0)
        self._open()


class LogFilter(NamedTuple):
    """Which records to show; times in seconds since the epoch, `tail` -1 for all."""

    since_s: float = 0.0
    until_s: float = 0.0
    tail: int = -1


def read(path: str, chosen: LogFilter) -> Iterator[LogRecord]:
    """Give the records of a log and its rotated parts, the oldest first."""
    records = (record for part in _parts(path) for record in _parsed(part))
    if chosen.tail < 0:
        yield from (record for record in records if is_chosen(record, chosen))
        return
    if chosen.tail == 0:
        return
    from collections import deque

    yield from deque((r for r in records if is_chosen(r, chosen)), maxlen=chosen.tail)


def is_chosen(record: LogRecord, chosen: LogFilter) -> bool:
    """Tell whether a record lies within the times of a filter."""
    if not chosen.since_s and not chosen.until_s:
        return True
    moment = parse_time(record.time)
    return moment >= chosen.since_s and (not chosen.until_s or moment <= chosen.until_s)


class Follower:
    """Reads the records that are added to a log from now on, also across a rotation."""

    def __init__(self, path: str, *, offset: int) -> None:
        """Begin at an offset of the present file."""
        self._path = path
        self._offset = offset
        self._fd = -1
        self._rest = b""

    def records(self) -> Iterator[LogRecord]:
        """Give what was added since the last call."""
        while content := self._read():
            *lines, self._rest = (self._rest + content).split(b"\n")
            for line in lines:
                if (record := _parse(line)) is not None:
                    yield record

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)

    def _read(self) -> bytes:
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return b""
        content = os.pread(self._fd, _CHUNK_BYTES, self._offset)
        if not content and self._was_replaced():
            os.close(self._fd)
            self._fd, self._offset = -1, 0
            return self._read()
        self._offset += len(content)
        return content

    def _was_replaced(self) -> bool:
        here = os.fstat(self._fd)
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return (here.st_ino, here.st_dev) != (there.st_ino, there.st_dev)


def size_bytes(path: str) -> int:
    """Give the size of the present file, 0 if there is none."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _records(line: bytes, stream: str, stamp: str) -> list[str]:
    out = []
    while len(line) > RECORD_BYTES:
        head, line = _split(line)
        out.append(_record(head, stream, stamp))
    out.append(_record(line, stream, stamp))
    return out


def _split(content: bytes) -> tuple[bytes, bytes]:
    """Cut a record off, but not inside of a UTF-8 character."""
    end = RECORD_BYTES
    while end > RECORD_BYTES - 4 and content[end : end + 1] and content[end] & 0xC0 == 0x80:  # noqa: PLR2004
        end -= 1
    return content[:end], content[end:]


def _record(content: bytes, stream: str, stamp: str) -> str:
    text = encode_basestring(content.decode("utf-8", "replace"))
    return f'{{"log":{text},"stream":"{stream}","time":"{stamp}"}}\n'


def _parts(path: str) -> list[str]:
    number = 1
    while os.path.exists(f"{path}.{number}"):
        number += 1
    return [*(f"{path}.{n}" for n in range(number - 1, 0, -1)), path]


def _parsed(path: str) -> Iterator[LogRecord]:
    try:
        with open(path, "rb") as file:
            for line in file:
                if (record := _parse(line)) is not None:
                    yield record
    except FileNotFoundError:
        return


def _parse(line: bytes) -> LogRecord | None:
    """Read a line; a torn one, as after a crash, is left out."""
    try:
        return jsonvalues.decode(LogRecord, jsonvalues.loads(line.decode("utf-8", "replace")))
    except (ValueError, TypeError):
        return None
