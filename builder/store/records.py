"""Cache records: the key of a step to what it came to, and what it was made from the last time.

A record is a hint: losing one costs a repetition, so writing is not made durable. Times of last use
are kept in memory and written in one go; a clock that jumped back never makes anything older.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from builder.concurrency import CancelToken
from builder.oci.digest import Digest
from builder.store.database import Database, Row
from builder.store.locks import Locks
from builder.store.snapshots import Snapshots
from builder.values import NamedTuple

_COLUMNS = "key, slow, snapshot, extra, name, created_s, last_used_s"

Part = tuple[str, str, Digest]
"""Kind, label and digest of one thing that a key was made from."""


class Record(NamedTuple):
    """What the step with this key came to. `slow` is its key by content, maybe the same."""

    key: Digest
    slow: Digest
    snapshot: int | None
    extra: bytes
    name: str
    created_s: int
    last_used_s: int


class StepRecord(NamedTuple):
    """What a step's key was made from when it last ran or was found."""

    step: Digest
    slow: Digest
    name: str
    parts: tuple[Part, ...]
    time_s: int


class Records:
    """The cache records of one state directory; methods may be called from any thread."""

    def __init__(self, database: Database, snapshots: Snapshots, locks: Locks) -> None:
        """Keep the collaborators."""
        self._database = database
        self._snapshots = snapshots
        self._locks = locks
        self._used: set[Digest] = set()
        self._used_memos: set[bytes] = set()
        self._lock = threading.Lock()

    def find(self, key: Digest) -> Record | None:
        """Look a result up and pin its snapshot; a record whose snapshot is gone is none."""
        row = self._database.one(f"SELECT {_COLUMNS} FROM records WHERE key = ?", key)  # noqa: S608
        return None if row is None else self._claimed(row)

    def save(
        self,
        fast: Digest,
        slow: Digest,
        *,
        snapshot: int | None,
        extra: bytes = b"",
        step: Digest,
        name: str,
        parts: Sequence[Part],
    ) -> None:
        """Remember a result under both of its keys, and how the step's key was made."""
        now_s = int(time.time())
        encoded = json.dumps([[kind, label, digest] for kind, label, digest in parts])
        with self._database.transaction():
            for key in {fast, slow}:
                self._database.query(
                    "INSERT INTO records VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)"
                    " ON CONFLICT (key) DO UPDATE SET slow = ?2, snapshot = ?3, extra = ?4,"
                    " name = ?5, last_used_s = max(last_used_s, ?6)",
                    key, slow, snapshot, extra, name, now_s,
                )  # fmt: skip
            self._database.query(
                "INSERT OR REPLACE INTO steps VALUES (?, ?, ?, ?, ?)",
                step, slow, name, encoded, now_s,
            )  # fmt: skip

    def last(self, step: Digest) -> StepRecord | None:
        """Tell what a step was made from before; ask before the next save."""
        row = self._database.one("SELECT slow, name, parts, time_s FROM steps WHERE step = ?", step)
        if row is None:
            return None
        parts = tuple((kind, label, Digest(digest)) for kind, label, digest in json.loads(row[2]))
        return StepRecord(step, Digest(row[0]), row[1], parts, row[3])

    @contextmanager
    def locked(self, key: Digest, token: CancelToken | None = None) -> Iterator[None]:
        """Hold a key's lock, so that of several builds only one executes the step."""
        with self._locks.held(f"key {key}", token=token):
            yield

    def memo(self, key: bytes) -> bytes | None:
        """Look up a small value of any kind."""
        row = self._database.one("SELECT value FROM memos WHERE key = ?", key)
        if row is None:
            return None
        with self._lock:
            self._used_memos.add(key)
        return bytes(row[0])

    def remember(self, key: bytes, value: bytes) -> None:
        """Keep a small value of any kind; like a record, it may be lost."""
        self._database.query(
            "INSERT OR REPLACE INTO memos VALUES (?, ?, ?)", key, value, int(time.time())
        )

    def flush(self) -> None:
        """Write when records, their snapshots and memos were last used."""
        with self._lock:
            used, self._used = self._used, set()
            memos, self._used_memos = self._used_memos, set()
        if not used and not memos:
            return
        now_s = int(time.time())
        with self._database.transaction():
            self._database.query_many(
                "UPDATE records SET last_used_s = max(last_used_s, ?) WHERE key = ?",
                [(now_s, key) for key in used],
            )
            self._snapshots.note_use()
            self._database.query_many(
                "UPDATE memos SET last_used_s = max(last_used_s, ?) WHERE key = ?",
                [(now_s, key) for key in memos],
            )

    def _claimed(self, row: Row) -> Record | None:
        record = Record(Digest(row[0]), Digest(row[1]), *row[2:])
        if record.snapshot is not None and self._snapshots.find(record.snapshot) is None:
            self._database.query(
                "DELETE FROM records WHERE key = ? AND snapshot = ?", record.key, record.snapshot
            )
            return None
        with self._lock:
            self._used.add(record.key)
        return record
