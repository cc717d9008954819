"""The database and what becomes of a broken one."""

import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import StoreError
from builder.store.database import Database
from builder.store.locks import Locks


class Opened:
    """A database with a record of what it reported."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "builder.db"
        self.warnings: list[str] = []
        self.restored = 0
        self.database = self.again()

    def again(self) -> Database:
        locks = Locks(str(self.path.parent / "lock"))
        return Database(str(self.path), locks, warn=self.warnings.append, restore=self._restore)

    def _restore(self) -> None:
        self.restored += 1


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    made = Opened(tmp_path)
    with made.database.transaction(is_durable=True):
        for number in range(200):
            made.database.query("INSERT INTO memos VALUES (?, ?, 0)", b"%d" % number, b"v" * 500)
    made.database.close()
    return made


def test_rows_are_there_after_reopening(opened: Opened) -> None:
    rows = opened.again().query("SELECT count(*) FROM memos")

    assert rows == [(200,)]
    assert opened.path.stat().st_mode & 0o777 == 0o600


def test_a_failed_block_changes_nothing(opened: Opened) -> None:
    database = opened.again()

    with pytest.raises(StoreError), database.transaction():
        database.query_many("DELETE FROM memos WHERE key = ?", [(b"1",), (b"2", b"too many")])

    assert database.query("SELECT count(*) FROM memos") == [(200,)]


def test_blocks_nest(opened: Opened) -> None:
    database = opened.again()

    with database.transaction(), database.transaction(is_durable=True):
        database.query("DELETE FROM memos")

    assert database.query("SELECT count(*) FROM memos") == [(0,)]


def test_threads_share_the_connection(opened: Opened) -> None:
    database = opened.again()

    def work(number: int) -> None:
        for _ in range(20):
            with database.transaction():
                database.query(
                    "UPDATE memos SET last_used_s = last_used_s + 1 WHERE key = ?", b"%d" % number
                )

    threads = [threading.Thread(target=work, args=(7,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert database.query("SELECT last_used_s FROM memos WHERE key = ?", b"7") == [(80,)]


def truncate(path: Path) -> None:
    os.truncate(path, 5000)


def scribble_over_the_header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"garbage garbage garbage garbage")


def zero_the_schema(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(bytes(3996))


def replace_by_text(path: Path) -> None:
    path.write_text("not a database\n" * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "breaking", [truncate, scribble_over_the_header, zero_the_schema, replace_by_text]
)
def test_a_broken_file_is_set_aside_and_begun_anew(
    opened: Opened, breaking: Callable[[Path], None]
) -> None:
    breaking(opened.path)
    database = opened.again()

    if database.check() is not None:
        database.replace()
    rows = database.query("SELECT count(*) FROM memos")

    assert rows == [(0,)]
    assert opened.restored == 1
    assert "corrupt" in opened.warnings[0]
    assert [p for p in os.listdir(opened.path.parent) if ".bad-" in p]


@pytest.mark.parametrize("breaking", [scribble_over_the_header, zero_the_schema, replace_by_text])
def test_the_first_question_finds_a_broken_file(
    opened: Opened, breaking: Callable[[Path], None]
) -> None:
    breaking(opened.path)

    rows = opened.again().query("SELECT count(*) FROM memos")

    assert rows == [(0,)]
    assert opened.restored == 1


def test_an_empty_file_becomes_a_database(opened: Opened) -> None:
    empty(opened.path)

    assert opened.again().query("SELECT count(*) FROM memos") == [(0,)]


def test_of_two_who_find_it_broken_one_replaces_it(opened: Opened) -> None:
    first, second = opened.again(), opened.again()
    first.query("SELECT 1")
    second.query("SELECT 1")

    first.replace()
    first.query("INSERT INTO memos VALUES (x'00', x'00', 0)")
    second.replace()

    assert second.query("SELECT count(*) FROM memos") == [(1,)]
    assert opened.restored == 1


def test_a_file_found_broken_in_mid_block_is_replaced_after_it(opened: Opened) -> None:
    database = opened.again()
    database.query("SELECT 1")
    database.query("PRAGMA writable_schema = ON")
    database.query("UPDATE sqlite_schema SET rootpage = 9999 WHERE name = 'memos'")
    database.query("PRAGMA schema_version = 77")

    with pytest.raises(StoreError, match="corrupt"), database.transaction():
        database.query("SELECT * FROM memos")

    assert opened.restored == 1
    assert database.query("SELECT count(*) FROM memos") == [(0,)]


def test_a_database_of_the_first_format_is_brought_up_to_date(opened: Opened) -> None:
    connection = sqlite3.connect(opened.path)
    now = connection.execute("SELECT sql FROM sqlite_schema ORDER BY name").fetchall()
    connection.execute("DROP INDEX snapshots_by_origin")
    for column in ("same_as", "is_patch"):
        connection.execute(f"ALTER TABLE snapshots DROP COLUMN {column}")
    connection.execute("INSERT INTO snapshots VALUES (7, NULL, 1, 1, '', NULL, 'old', 5, 6, 7)")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()

    rows = opened.again().query("SELECT id, name, is_patch, same_as FROM snapshots")

    assert rows == [(7, "old", 0, None)]
    connection = sqlite3.connect(opened.path)
    columns = connection.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall()
    connection.close()
    assert len(columns) == len(now)


def test_a_newer_format_is_refused_and_left_alone(opened: Opened) -> None:
    connection = sqlite3.connect(opened.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = opened.path.read_bytes()

    with pytest.raises(StoreError, match="format 99") as caught:
        opened.again().query("SELECT 1")

    assert caught.value.fix
    assert opened.path.read_bytes() == before
    assert not opened.warnings


def test_a_full_disk_has_a_remedy(opened: Opened) -> None:
    database = opened.again()
    database.query("PRAGMA max_page_count = 1")

    with pytest.raises(StoreError, match="no space") as caught:
        database.query("INSERT INTO memos VALUES (x'00', zeroblob(1000000), 0)")

    assert "prune" in (caught.value.fix or "")


def test_a_missing_directory_is_an_error_not_a_traceback(tmp_path: Path) -> None:
    opened = Opened(tmp_path / "absent")

    with pytest.raises(StoreError):
        opened.database.query("SELECT 1")
