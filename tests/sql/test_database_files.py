"""Files in a state that reading them is not plain: in WAL mode, in use, locked, left unfinished, or no database."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from learnat.errors import LearnatError
from learnat.sql.execution import ExecutorPool, check_sqlite
from tests.sql.items import assert_untouched, digest

WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_program(database: Path, *statements: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has run ``statements`` and keeps its connection open."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(database), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


CHANGES = ("PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0", "UPDATE item SET name = 'new' WHERE id = 1")
FIRST_NAME = "SELECT name FROM item WHERE id = 1"


def test_a_database_in_wal_mode_gets_no_files_beside_it(pool: ExecutorPool, database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("UPDATE item SET name = 'x'")
    connection.commit()
    connection.close()
    assert_untouched(pool, database, digest(database))


def test_a_wal_database_in_use_is_read_as_it_is_now_and_its_files_are_left_alone(
    pool: ExecutorPool, database: Path
) -> None:
    assert pool.run(database, FIRST_NAME).rows == [("item 1",)]
    with another_program(database, *CHANGES):
        before = contents(database.parent)
        assert len(before) == 3
        assert pool.run(database, FIRST_NAME).rows == [("new",)]
        assert contents(database.parent) == before


def test_a_wal_database_whose_program_was_killed_is_read_without_repairing_it(
    pool: ExecutorPool, database: Path
) -> None:
    with another_program(database, *CHANGES) as program:
        program.kill()
        program.wait()
        before = contents(database.parent)
        assert pool.run(database, FIRST_NAME).rows == [("new",)]
        assert contents(database.parent) == before


def test_unfinished_changes_that_cannot_be_read_are_a_clear_error(pool: ExecutorPool, database: Path) -> None:
    with another_program(database, *CHANGES) as program:
        program.kill()
        program.wait()
    (database.parent / f"{database.name}-shm").unlink()
    before = contents(database.parent)
    error = pool.run(database, FIRST_NAME).error or ""
    assert f"{database}-wal holds changes that were not finished" in error and "sqlite3" in error
    assert contents(database.parent) == before


def test_a_hot_journal_is_a_clear_error(pool: ExecutorPool, database: Path) -> None:
    changes = ("PRAGMA cache_size = 1", "PRAGMA cache_spill = 1", "BEGIN IMMEDIATE")
    grow = f"INSERT INTO item SELECT id + 1000, '{'x' * 2000}' FROM item"
    with another_program(database, *changes, "UPDATE item SET name = 'x'", grow) as program:
        program.kill()
        program.wait()
    before = contents(database.parent)
    assert len(before) == 2, "the transaction was to leave its journal"
    error = pool.run(database, FIRST_NAME).error or ""
    assert f"{database}-journal holds changes that were not finished" in error
    assert contents(database.parent) == before


def test_a_locked_database_is_a_clear_error_soon(pool: ExecutorPool, database: Path) -> None:
    pool.run(database, "SELECT 1")
    with another_program(database, "BEGIN EXCLUSIVE"):
        start = time.monotonic()
        result = pool.run(database, "SELECT * FROM item")
        assert time.monotonic() - start < 5.0
    assert "locked" in (result.error or "")
    assert str(database) in (result.error or "")
    assert pool.run(database, "SELECT count(*) FROM item").rows == [(300,)]


def test_bad_files_are_errors_of_the_query(pool: ExecutorPool, tmp_path: Path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("version https://example.org\n" * 100)
    assert "not a database" in (pool.run(text, "SELECT 1 FROM t").error or "")
    assert "no such database file" in (pool.run(tmp_path / "none.sqlite", "SELECT 1").error or "")
    assert pool.run(tmp_path, "SELECT 1").error


def test_check_sqlite_names_the_file_and_the_way_out(tmp_path: Path, database: Path) -> None:
    assert check_sqlite(database) == database
    for name, content in {"none": None, "empty": b"", "text": b"hello world, this is text"}.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(LearnatError, match=name):
            check_sqlite(path)
    with pytest.raises(LearnatError, match="not a file"):
        check_sqlite(tmp_path)
