"""One SQLite file, WAL, opened at the first question; what is broken is set aside and made anew.

A transaction is durable when the user is told of it (tags, containers), otherwise a power cut may
undo the last ones, in order, never in part. One connection serves all threads below a lock: the
look-ups take microseconds.
"""

import _sqlite3 as sqlite  # the sqlite3 package imports datetime, 4 ms
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from builder.errors import StoreError
from builder.store import schema
from builder.store.failure import FIX_DISK, FIX_READ_ONLY, FIX_SPACE, translated
from builder.store.locks import Locks

Value = str | int | bytes | None
Row = tuple[Any, ...]

_BUSY_S = 60.0
_STATEMENTS_KEPT = 128
_FULL, _READ_ONLY, _IO, _CORRUPT, _NOT_A_DATABASE, _BUSY, _LOCKED, _CANTOPEN = (
    13, 8, 10, 11, 26, 5, 6, 14,
)  # fmt: skip


class Database:
    """The rows of one state directory; all methods may be called from several threads."""

    def __init__(
        self,
        path: str,
        locks: Locks,
        *,
        warn: Callable[[str], None],
        restore: Callable[[], None],
    ) -> None:
        """Keep where the file is; `restore` fills the one that takes a broken one's place."""
        self._path = path
        self._locks = locks
        self._inode = 0
        self._warn = warn
        self._restore = restore
        self._lock = threading.RLock()
        self._connection: sqlite.Connection | None = None
        self._is_in_transaction = False
        self._is_broken = False

    def query(self, statement: str, *values: Value) -> list[Row]:
        """Run one statement and return its rows; outside a transaction it is one of its own."""
        with self._lock:
            try:
                return self._opened().execute(statement, values).fetchall()
            except sqlite.Error as error:
                if self._is_in_transaction or not _is_corrupt(error):
                    raise self._translated(error) from error
                self._replace()
                return self._opened().execute(statement, values).fetchall()

    def one(self, statement: str, *values: Value) -> Row | None:
        """Run one statement and return its first row, if any."""
        rows = self.query(statement, *values)
        return rows[0] if rows else None

    def insert(self, statement: str, *values: Value) -> int:
        """Run an INSERT and return the new row's number."""
        with self._lock:
            self.query(statement, *values)
            return int(self.query("SELECT last_insert_rowid()")[0][0])

    def query_many(self, statement: str, rows: Sequence[Sequence[Value]]) -> None:
        """Run one statement for many rows; call it within a transaction."""
        with self._lock:
            try:
                self._opened().executemany(statement, rows)
            except sqlite.Error as error:
                raise self._translated(error) from error

    @contextmanager
    def transaction(self, *, is_durable: bool = False) -> Iterator[None]:
        """Do all of a block or nothing of it; keeps other writers out from its beginning.

        With `is_durable` it survives a power cut once the block is left. Blocks may nest: the
        outermost decides.
        """
        with self._lock:
            if self._is_in_transaction:
                yield
                return
            self.query("PRAGMA synchronous = FULL" if is_durable else "PRAGMA synchronous = NORMAL")
            self.query("BEGIN IMMEDIATE")
            self._is_in_transaction = True
            try:
                yield
                self.query("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._is_in_transaction = False
                if self._is_broken:
                    self._replace()

    def check(self) -> str | None:
        """Have SQLite read everything; return what it finds wrong. Replaces nothing."""
        with self._lock:
            try:
                found = str(self._opened().execute("PRAGMA quick_check(1)").fetchone()[0])
            except sqlite.Error as error:
                return str(error)
            return None if found == "ok" else found

    def replace(self) -> None:
        """Set the file aside and begin a new one, as if it had been found broken."""
        with self._lock:
            self._replace()

    def close(self) -> None:
        """Close the file if it is open."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def forget(self) -> None:
        """Drop the connection without closing it: for a forked child, whose locks are its parent's.

        Closing would release the parent's POSIX locks' bookkeeping; "How To Corrupt", section 2.6.
        """
        if self._connection is not None:
            _abandoned.append(self._connection)
            self._connection = None
        self._lock = threading.RLock()

    def _opened(self) -> sqlite.Connection:
        if self._connection is not None:
            return self._connection
        try:
            if os.path.exists(self._path):
                connection = self._connect(self._path)
            else:
                with self._locks.held("database"):  # one may be about to be put there
                    connection = self._connect(self._path)
        except sqlite.Error as error:
            if not _is_corrupt(error):
                raise self._translated(error) from error
            self._replace()
            connection = self._connect(self._path)
        self._connection = connection
        return connection

    def _connect(self, path: str) -> sqlite.Connection:
        is_new = not os.path.exists(path)
        connection = sqlite.connect(
            path,
            timeout=_BUSY_S,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS_KEPT,
        )
        try:
            if is_new:
                os.chmod(path, 0o600)
            self._inode = _inode(path)
            connection.execute("PRAGMA synchronous = NORMAL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version != schema.VERSION:
                with self._locks.held("format"):  # a change of the journal mode waits for nobody
                    self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite.Connection) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]  # another may have won
        if version > schema.VERSION:
            connection.execute("ROLLBACK")
            raise StoreError(
                f"{self._path} has format {version}, this version knows {schema.VERSION}",
                fix="use the newer builder, or another --root",
            )
        if version == 0:
            for statement in schema.STATEMENTS:
                connection.execute(statement)
        else:
            for step in range(version, schema.VERSION):
                for statement in schema.MIGRATIONS[step]:
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {schema.VERSION}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA synchronous = NORMAL")

    def _replace(self) -> None:
        """Set the broken file aside and put a restored one in its place, all at once.

        Of several processes that find it broken, one does this; the others take the new file.
        Nobody ever sees a file that is not restored: a collection would find nothing needed.
        """
        inode, self._is_broken = self._inode, False
        self.close()
        with self._locks.held("database"):
            if inode and inode != _inode(self._path):
                return
            fresh = f"{self._path}.new"
            with translated(self._path):
                for suffix in ("", "-wal", "-shm"):
                    _rename_if_there(fresh + suffix, f"{fresh}.old")
            self._connection = self._connect(fresh)
            self._restore()
            self.close()  # which leaves one whole file and no WAL
            bad = f"{self._path}.bad-{int(time.time())}"
            with translated(self._path):
                for suffix in ("-shm", "-wal", ""):
                    _rename_if_there(self._path + suffix, bad + suffix)
                os.rename(fresh, self._path)
            self._warn(f"the database was corrupt; it was renamed to {bad} and made anew")

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is not None and connection.in_transaction:
            connection.execute("ROLLBACK")

    def _translated(self, error: sqlite.Error) -> StoreError:
        code = _code(error)
        if code == _FULL:
            return StoreError(f"no space is left for {self._path}", fix=FIX_SPACE)
        if code in {_READ_ONLY, _CANTOPEN}:
            return StoreError(f"{self._path} cannot be opened for writing", fix=FIX_READ_ONLY)
        if code == _IO:
            return StoreError(f"the disk reported an error at {self._path}", fix=FIX_DISK)
        if code in {_BUSY, _LOCKED}:
            return StoreError(
                f"{self._path} was locked by another process for {_BUSY_S:g} seconds",
                fix="wait for the other builder process, or end it",
            )
        if _is_corrupt(error):
            self._is_broken = True
            return StoreError(f"{self._path} is corrupt: {error}", fix="run the command again")
        return StoreError(f"{self._path}: {error}")


_abandoned: list[sqlite.Connection] = []  # kept so that no destructor closes them


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0


def _rename_if_there(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        return


def _code(error: sqlite.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_corrupt(error: sqlite.Error) -> bool:
    return _code(error) in {_CORRUPT, _NOT_A_DATABASE} or "no such table" in str(error)
