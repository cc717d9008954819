"""What containers use at a moment: the rows of `stats`."""

import os
import time
from collections.abc import Sequence

from builder.containers.creation import Workplace
from builder.containers.lifecycle import group_of
from builder.containers.processes import processes_of
from builder.containers.records import Record
from builder.kernel.cgroups import Usage
from builder.values import NamedTuple

_NANOSECONDS = 1_000_000_000
_RECEIVED, _SENT = 1, 9


class Row(NamedTuple):
    """One container's figures."""

    id: str
    name: str
    cpu_percent: float
    memory_bytes: int
    memory_limit_bytes: int
    received_bytes: int
    sent_bytes: int
    read_bytes: int
    written_bytes: int
    pids: int


def measured(
    place: Workplace, names: Sequence[str], *, is_all: bool, interval_s: float
) -> list[Row]:
    """Measure containers (all that run, if none is named) over an interval, which it waits for."""
    records = [place.records.get(name) for name in names] or place.records.all()
    chosen = [record for record in records if is_all or names or record.state.is_alive]
    before = {record.container.id: _usage(record) for record in chosen}
    start = time.monotonic()
    time.sleep(interval_s)
    elapsed_s = time.monotonic() - start
    return [_row(record, before[record.container.id], elapsed_s) for record in chosen]


def _row(record: Record, before: Usage, elapsed_s: float) -> Row:
    usage = _usage(record)
    received, sent = _traffic(record.state.pid)
    return Row(
        record.container.id,
        record.container.name,
        100 * max(0, usage.cpu_ns - before.cpu_ns) / _NANOSECONDS / elapsed_s,
        usage.memory_bytes,
        usage.memory_limit_bytes or _machine_bytes(),
        received,
        sent,
        usage.read_bytes,
        usage.written_bytes,
        usage.pids,
    )


def _usage(record: Record) -> Usage:
    """Ask the control group, or add the processes up where there is none."""
    container, state = record
    group = group_of(container, state)
    if group is not None and ("memory" in group.v1 or group.v2):
        return group.usage()
    if not state.pid:
        return Usage(0, 0, 0, 0, 0, 0)
    try:
        found = processes_of(state.pid)
    except OSError:
        found = []
    return Usage(
        int(sum(process.cpu_s for process in found) * _NANOSECONDS),
        sum(process.resident_kib for process in found) * 1024,
        0,
        len(found),
        0,
        0,
    )


def _traffic(pid: int) -> tuple[int, int]:
    """Add up what the container's interfaces but loopback carried."""
    received = sent = 0
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii") as file:
            for line in file:
                name, colon, counts = line.partition(":")
                fields = counts.split()
                if colon and name.strip() != "lo" and len(fields) > _SENT:
                    received += int(fields[_RECEIVED - 1])
                    sent += int(fields[_SENT - 1])
    except OSError:
        return 0, 0
    return received, sent


def _machine_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
