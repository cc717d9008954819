"""Reading the journal: what happened in a window of time, and goes on happening."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from builder import jsonvalues
from builder.containers.journal import Happening, Journal
from builder.containers.model import rfc3339
from builder.errors import UsageError
from builder.values import NamedTuple

_CHUNK_BYTES = 64 << 10
_NANOSECONDS = 1_000_000_000


class Window(NamedTuple):
    """From when to when, in seconds since the epoch; None: for ever."""

    since_s: float
    until_s: float | None


def follow(
    journal: Journal, window: Window, check: Callable[[], None], pause_s: float
) -> Iterator[Happening]:
    """Give what is in the window, waiting for its end; `check` is called at every wait."""
    yield from _within(_read(f"{journal.path}.1"), window)
    offset, rest, inode = 0, b"", 0
    while True:
        is_over = window.until_s is not None and time.time() >= window.until_s
        try:
            fd = os.open(journal.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            fd = -1
        if fd >= 0:
            try:
                if os.fstat(fd).st_ino != inode:
                    offset, rest, inode = 0, b"", os.fstat(fd).st_ino
                while content := os.pread(fd, _CHUNK_BYTES, offset):
                    offset += len(content)
                    *lines, rest = (rest + content).split(b"\n")
                    yield from _within(map(_parse, lines), window)
            finally:
                os.close(fd)
        if is_over:
            return
        check()
        time.sleep(pause_s)


def matcher(filters: Mapping[str, Sequence[str]]) -> Callable[[Happening], bool]:
    """Make a test of the filters; raise UsageError for an unknown one."""
    for key in filters:
        if key not in _TESTS:
            raise UsageError(
                f"there is no filter {key!r}", fix=f"use one of {', '.join(sorted(_TESTS))}"
            )

    def is_wanted(happening: Happening) -> bool:
        return all(
            any(_TESTS[key](happening, value) for value in values)
            for key, values in filters.items()
        )

    return is_wanted


def line_of(happening: Happening) -> str:
    """Write an event as Docker does by default."""
    attributes = ", ".join(f"{k}={v}" for k, v in sorted(happening.attributes.items()))
    moment = rfc3339(happening.time_ns)
    return f"{moment} {happening.type} {happening.action} {happening.id} ({attributes})"


def described(happening: Happening) -> dict[str, object]:
    """Describe an event as Docker's API does."""
    described_event: dict[str, object] = {
        "Type": happening.type,
        "Action": happening.action,
        "Actor": {"ID": happening.id, "Attributes": dict(happening.attributes)},
        "scope": "local",
        "time": happening.time_ns // _NANOSECONDS,
        "timeNano": happening.time_ns,
    }
    if happening.type == "container":
        described_event |= {
            "status": happening.action,
            "id": happening.id,
            "from": happening.attributes.get("image", ""),
        }
    return described_event


def _within(found: Iterator[Happening | None], window: Window) -> Iterator[Happening]:
    for happening in found:
        if happening is None:
            continue
        moment_s = happening.time_ns / _NANOSECONDS
        if moment_s >= window.since_s and (window.until_s is None or moment_s <= window.until_s):
            yield happening


def _read(path: str) -> Iterator[Happening | None]:
    try:
        with open(path, "rb") as file:
            yield from map(_parse, file)
    except FileNotFoundError:
        return


def _parse(line: bytes) -> Happening | None:
    try:
        return jsonvalues.decode(Happening, jsonvalues.loads(line.decode("utf-8", "replace")))
    except (ValueError, TypeError):
        return None


def _is_object(kind: str) -> Callable[[Happening, str], bool]:
    def test(happening: Happening, wanted: str) -> bool:
        name = happening.attributes.get("name", "")
        return happening.type == kind and (
            wanted in {name, happening.id} or happening.id.startswith(wanted)
        )

    return test


def _has_label(happening: Happening, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    found = happening.attributes.get(key)
    return found is not None and (not equals or found == value)


_TESTS: Mapping[str, Callable[[Happening, str], bool]] = {
    "container": _is_object("container"),
    "volume": _is_object("volume"),
    "network": _is_object("network"),
    "event": lambda happening, wanted: happening.action.partition(":")[0] == wanted,
    "type": lambda happening, wanted: happening.type == wanted,
    "image": lambda happening, wanted: (
        happening.attributes.get("image") in {wanted, f"{wanted}:latest"} or happening.id == wanted
    ),
    "label": _has_label,
    "scope": lambda _happening, wanted: wanted == "local",
}
