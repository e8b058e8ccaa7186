"""Schemas read from a SQLite file alone."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from learnat.benchmarks.sqlite_schema import LOCK_WAIT_S, SAMPLE_WIDTH, read_schema
from learnat.errors import LearnatError

from .conftest import SHOP_SQL, write_database


def test_tables_keys_and_samples(tmp_path: Path) -> None:
    path = tmp_path / "a file # with odd%20name.sqlite"
    write_database(
        path, SHOP_SQL + "CREATE VIEW v AS SELECT 1; CREATE TABLE seq (n INTEGER PRIMARY KEY AUTOINCREMENT);"
    )
    schema = read_schema(path, samples=3)
    assert [table.name for table in schema.tables] == ["customer", "order", "seq"]
    order = schema.tables[1]
    assert [column.name for column in order.primary_key] == ["id", "line"]
    assert order.columns[3].samples == ("2.5", "4.0")
    assert order.columns[3].type == "REAL"
    assert read_schema(path).tables[1].columns[3].samples == ()


def test_foreign_keys_in_the_order_declared(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    write_database(
        path,
        """
        CREATE TABLE a (x INTEGER PRIMARY KEY);
        CREATE TABLE b (y INT, z INT, PRIMARY KEY (y, z));
        CREATE TABLE c (p INT REFERENCES A, q INT, r INT, s INT REFERENCES nowhere (x),
            FOREIGN KEY (q, r) REFERENCES b, FOREIGN KEY (r) REFERENCES a (X));
        """,
    )
    keys = [(k.table, k.column, k.ref_table, k.ref_column) for k in read_schema(path).foreign_keys]
    # Without columns the parent's primary key is meant; a parent that does not exist refers to nothing.
    assert keys == [("c", "p", "a", "x"), ("c", "q", "b", "y"), ("c", "r", "b", "z"), ("c", "r", "a", "x")]


def test_samples_are_bounded_and_printable(tmp_path: Path) -> None:
    path = tmp_path / "values.sqlite"
    write_database(path, "CREATE TABLE t (a TEXT, b TEXT, c, d INT GENERATED ALWAYS AS (1) VIRTUAL)")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO t VALUES (?, CAST(x'e9' AS TEXT), ?)", ("x" * 500, b"blob"))
        connection.execute("INSERT INTO t VALUES (?, ?, ?)", ("two\nlines", "ok", None))
        connection.execute("INSERT INTO t VALUES (?, ?, ?)", ("  ", "ok", 2**62))
        connection.executemany("INSERT INTO t VALUES ('two lines', NULL, NULL)", [()] * 5000)
        connection.execute("INSERT INTO t VALUES ('too late', 'too late', NULL)")
    a, b, c, d = read_schema(path, samples=3).tables[0].columns
    assert a.samples == ("x" * (SAMPLE_WIDTH - 1) + "…", "two lines")
    assert b.samples == ("ok",)
    assert c.samples == (str(2**62),)
    assert d.samples == ("1",)


def test_samples_come_in_row_order_whatever_the_indexes(tmp_path: Path) -> None:
    path = tmp_path / "indexed.sqlite"
    write_database(path, "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('z'), ('y'), ('x'); CREATE INDEX i ON t (a);")
    assert read_schema(path, samples=2).tables[0].columns[0].samples == ("z", "y")


def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    write_database(path)
    before = path.read_bytes()
    read_schema(path, samples=3)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["shop.sqlite"]


def test_damaged_and_missing_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    write_database(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(LearnatError, match=r"shop\.sqlite: SQLite says: .*malformed"):
        read_schema(path)
    with pytest.raises(LearnatError, match=r"none\.sqlite"):
        read_schema(tmp_path / "none.sqlite")


def test_a_database_that_another_program_has_locked(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    write_database(path, SHOP_SQL)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        start = time.monotonic()
        with pytest.raises(LearnatError, match=r"The database .*shop\.sqlite is locked.*work on a copy"):
            read_schema(path)
        assert time.monotonic() - start < 3 * LOCK_WAIT_S


def test_a_database_in_wal_mode_gets_no_files_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.sqlite"
    write_database(path, "PRAGMA journal_mode = WAL;" + SHOP_SQL)
    before = path.read_bytes()
    assert [table.name for table in read_schema(path).tables] == ["customer", "order"]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE late (n)")
        assert [table.name for table in read_schema(path).tables] == ["customer", "order", "late"]
    assert path.read_bytes() != before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_changes_that_were_not_finished_are_one_message(tmp_path: Path) -> None:
    path, copy = tmp_path / "shop.sqlite", tmp_path / "copy.sqlite"
    write_database(path, "PRAGMA journal_mode = WAL;" + SHOP_SQL)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE late (n)")
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")
    with pytest.raises(LearnatError, match=r"Cannot read the database .*copy\.sqlite: .*-wal holds changes"):
        read_schema(copy)
