"""The processes of a container, read from /proc: what ps would print, without a ps."""

import os
import time
from collections.abc import Callable, Mapping, Sequence

from builder.containers.records import Record
from builder.errors import Conflict, UsageError
from builder.text import nearest, visible
from builder.values import NamedTuple

DEFAULT_COLUMNS = ("UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
_AUX_COLUMNS = (
    "USER",
    "PID",
    "%CPU",
    "%MEM",
    "VSZ",
    "RSS",
    "TTY",
    "STAT",
    "START",
    "TIME",
    "COMMAND",
)
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class Process(NamedTuple):
    """One process, as the host sees it; times in seconds."""

    pid: int
    ppid: int
    uid: int
    name: str
    command: str
    state: str
    terminal: int
    cpu_s: float
    started_s: float
    threads: int
    virtual_kib: int
    resident_kib: int
    nice: int
    group: int
    session: int


def processes_of(pid: int) -> list[Process]:
    """List the processes that share the PID namespace of one."""
    wanted = os.readlink(f"/proc/{pid}/ns/pid")
    found = []
    for name in sorted((n for n in os.listdir("/proc") if n.isdigit()), key=int):
        try:
            if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                found.append(_read(int(name)))
        except (OSError, IndexError, ValueError):
            continue
    return found


def columns_of(options: Sequence[str]) -> tuple[str, ...]:
    """Understand the options of ps that choose columns; raise UsageError for others."""
    words = " ".join(options)
    if not words or words in {"-ef", "-f", "-e -f"}:
        return DEFAULT_COLUMNS
    if words.lstrip("-") in {"aux", "axu", "u"}:
        return _AUX_COLUMNS
    for prefix in ("-eo", "-o", "-Ao", "o", "-e -o"):
        if words.startswith(prefix):
            names = words.removeprefix(prefix).strip().replace(" ", ",")
            return tuple(_header(name) for name in names.split(",") if name)
    raise UsageError(f"top does not know the options {words!r}", fix="use -ef, aux or -o COLUMNS")


def table(record: Record, columns: Sequence[str]) -> list[list[str]]:
    """Give a row for each process; raise Conflict if the container does not run."""
    if not record.state.pid:
        raise Conflict(f"container {record.container.name} is not running")
    return [
        [_COLUMNS[column](process) for column in columns]
        for process in processes_of(record.state.pid)
    ]


def _header(name: str) -> str:
    column = _BY_NAME.get(name.lower())
    if column is None:
        near = nearest(name, _BY_NAME)
        raise UsageError(
            f"top has no column {name!r}", fix=f"did you mean {near}?" if near else None
        )
    return column


def _read(pid: int) -> Process:
    with open(f"/proc/{pid}/stat", "rb") as file:
        head, _, tail = file.read().rpartition(b")")
    fields = tail.split()
    name = head.partition(b"(")[2].decode("utf-8", "replace")
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        words = file.read().rstrip(b"\0").decode("utf-8", "replace").replace("\0", " ")
    with open("/proc/uptime", encoding="ascii") as file:
        boot_s = time.time() - float(file.read().split()[0])
    return Process(
        pid=pid,
        ppid=int(fields[1]),
        uid=os.stat(f"/proc/{pid}").st_uid,
        name=visible(name),
        command=visible(words) or f"[{visible(name)}]",
        state=fields[0].decode(),
        terminal=int(fields[4]),
        cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
        started_s=boot_s + int(fields[19]) / _TICKS,
        threads=int(fields[17]),
        virtual_kib=int(fields[20]) // 1024,
        resident_kib=int(fields[21]) * _PAGE_KIB,
        nice=int(fields[16]),
        group=int(fields[2]),
        session=int(fields[3]),
    )


def _user(process: Process) -> str:
    """Name the user as the host knows it, where it does."""
    import pwd

    try:
        return pwd.getpwuid(process.uid).pw_name
    except KeyError:
        return str(process.uid)


def _share(process: Process) -> float:
    return 100 * process.cpu_s / max(1.0, time.time() - process.started_s)


def _memory_share(process: Process) -> float:
    total_kib = os.sysconf("SC_PHYS_PAGES") * _PAGE_KIB
    return 100 * process.resident_kib / total_kib


def _clock(process: Process) -> str:
    minutes, seconds = divmod(int(process.cpu_s), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"


def _start(process: Process) -> str:
    return time.strftime("%H:%M", time.localtime(process.started_s))


def _elapsed(process: Process) -> str:
    minutes, seconds = divmod(int(time.time() - process.started_s), 60)
    return f"{minutes:02d}:{seconds:02d}"


def _terminal(process: Process) -> str:
    if process.terminal == 0:
        return "?"
    major, minor = process.terminal >> 8 & 0xFFF, process.terminal & 0xFF
    return f"pts/{minor}" if major == 136 else f"{major}:{minor}"  # noqa: PLR2004 - Unix98 ptys


_COLUMNS: Mapping[str, Callable[[Process], str]] = {
    "UID": _user,
    "USER": _user,
    "PID": lambda p: str(p.pid),
    "PPID": lambda p: str(p.ppid),
    "PGID": lambda p: str(p.group),
    "SID": lambda p: str(p.session),
    "C": lambda p: str(int(_share(p))),
    "%CPU": lambda p: f"{_share(p):.1f}",
    "%MEM": lambda p: f"{_memory_share(p):.1f}",
    "STIME": _start,
    "START": _start,
    "ELAPSED": _elapsed,
    "TTY": _terminal,
    "TIME": _clock,
    "STAT": lambda p: p.state,
    "S": lambda p: p.state,
    "NI": lambda p: str(p.nice),
    "NLWP": lambda p: str(p.threads),
    "VSZ": lambda p: str(p.virtual_kib),
    "RSS": lambda p: str(p.resident_kib),
    "CMD": lambda p: p.command,
    "COMMAND": lambda p: p.command,
    "COMM": lambda p: p.name,
}
_BY_NAME = {
    **{name.lower(): name for name in _COLUMNS},
    "args": "COMMAND",
    "pcpu": "%CPU",
    "pmem": "%MEM",
    "vsize": "VSZ",
    "etime": "ELAPSED",
    "state": "S",
    "tt": "TTY",
    "euid": "UID",
    "euser": "USER",
    "cputime": "TIME",
    "pgrp": "PGID",
    "sess": "SID",
    "ucmd": "COMM",
}
