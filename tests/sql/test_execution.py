"""What must hold: no statement writes, none outlives its limit, and the next query is answered."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from learnat.sql.execution import ExecutorPool
from learnat.sql.execution_worker import sqlite
from tests.sql.items import ENDLESS, LIMIT_S, assert_untouched, digest

BOMBS = {
    "zeroblob": "SELECT zeroblob(2000000000)",
    "randomblob": "SELECT randomblob(1000000000)",
    "printf": "SELECT printf('%2000000000d', 1)",
    "hex of blob": "SELECT hex(zeroblob(16000000))",
    "many blobs": "SELECT zeroblob(10000000), id FROM item",
    "blobs kept": "SELECT group_concat(hex(zeroblob(1000000))) FROM item a, item b, item c",
    "sort of blobs": "SELECT zeroblob(8000000) || a.id FROM item a, item b, item c ORDER BY 1",
}
WRITES = {
    "ATTACH": "ATTACH '{other}' AS other",
    "ATTACH memory": "ATTACH ':memory:' AS other",
    "DETACH": "DETACH main",
    "VACUUM INTO": "VACUUM INTO '{other}'",
    "VACUUM": "VACUUM",
    "PRAGMA writable_schema": "PRAGMA writable_schema = ON",
    "PRAGMA query_only": "PRAGMA query_only = OFF",
    "PRAGMA journal_mode": "PRAGMA journal_mode = WAL",
    "PRAGMA user_version": "PRAGMA user_version = 7",
    "PRAGMA heap limit": "PRAGMA hard_heap_limit = 0",
    "pragma function": "SELECT * FROM pragma_journal_mode('WAL')",
    "load_extension": "SELECT load_extension('/lib/libm.so')",
    "writefile": "SELECT writefile('{other}', 'x')",
    "DROP": "DROP TABLE item",
    "DELETE": "DELETE FROM item",
    "DELETE RETURNING": "DELETE FROM item RETURNING id",
    "UPDATE": "UPDATE item SET name = 'x'",
    "UPDATE after CTE": "WITH c AS (SELECT 1) UPDATE item SET name = (SELECT * FROM c)",
    "UPDATE sqlite_master": "UPDATE sqlite_master SET sql = ''",
    "INSERT": "INSERT INTO item SELECT * FROM item",
    "INSERT after CTE": "WITH c AS (SELECT 9, 'x') INSERT INTO item SELECT * FROM c",
    "REPLACE": "REPLACE INTO item VALUES (1, 'x')",
    "CREATE": "CREATE TABLE t AS SELECT 1",
    "CREATE TEMP": "CREATE TEMP TABLE t AS SELECT 1",
    "CREATE VIRTUAL": "CREATE VIRTUAL TABLE t USING fts5(x)",
    "CREATE TRIGGER": "CREATE TRIGGER t AFTER INSERT ON item BEGIN SELECT 1; END",
    "ALTER": "ALTER TABLE item RENAME TO thing",
    "REINDEX": "REINDEX",
    "ANALYZE": "ANALYZE",
    "BEGIN": "BEGIN EXCLUSIVE",
    "SAVEPOINT": "SAVEPOINT a",
    "two statements": "SELECT 1; DROP TABLE item",
}
MALFORMED = {
    "NUL": "SELECT 1 \0 FROM item",
    "NUL in literal": "SELECT 'a\0b'",
    "surrogate": "SELECT '\ud800'",
    "one megabyte": "SELECT '" + "x" * 2**20 + "'",
    "million columns": "SELECT " + "1," * 100_000 + "1",
    "deep parentheses": "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
    "deep subqueries": "SELECT * FROM " + "(SELECT * FROM " * 400 + "item" + ")" * 400,
    "deep expression": "SELECT " + "1+" * 5_000 + "1",
    "many unions": " UNION ALL ".join(["SELECT 1"] * 1_000),
    "many joins": "SELECT 1 FROM item" + ", item" * 100,
    "empty": "",
    "comment": "-- nothing",
    "prose": "I would select the names of all items.",
    "no such table": "SELECT * FROM nowhere",
    "open quote": "SELECT 'abc",
    "long pattern": "SELECT name LIKE '" + "%a" * 2_000 + "' FROM item",
}


def test_a_query_returns_columns_and_rows(pool: ExecutorPool, database: Path) -> None:
    result = pool.run(database, "SELECT id AS number, name, NULL, 1.5, x'00ff' FROM item WHERE id <= 2;  -- two")
    assert result.ok
    assert result.columns[:2] == ("number", "name")
    assert result.rows == [(1, "item 1", None, 1.5, b"\x00\xff"), (2, "item 2", None, 1.5, b"\x00\xff")]
    assert not result.timed_out
    assert result.seconds >= 0


@pytest.mark.parametrize("name", WRITES)
def test_no_statement_writes(pool: ExecutorPool, database: Path, name: str) -> None:
    before = digest(database)
    result = pool.run(database, WRITES[name].format(other=database.parent / "other.sqlite"))
    assert result.error is not None
    assert_untouched(pool, database, before)


@pytest.mark.parametrize("name", ENDLESS)
def test_no_query_outlives_its_limit(pool: ExecutorPool, database: Path, name: str) -> None:
    before = digest(database)
    result = pool.run(database, ENDLESS[name], timeout_s=LIMIT_S)
    assert result.timed_out
    assert result.error is not None
    assert "time limit" in result.error
    assert_untouched(pool, database, before)


@pytest.mark.parametrize("name", BOMBS)
def test_memory_bombs_are_errors(pool: ExecutorPool, database: Path, name: str) -> None:
    before = digest(database)
    result = pool.run(database, BOMBS[name], timeout_s=2.0)
    assert not result.ok or result.rows == [(None,)]
    assert_untouched(pool, database, before)


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_statements_are_errors(pool: ExecutorPool, database: Path, name: str) -> None:
    if name == "long pattern" and not hasattr(sqlite3.Connection, "setlimit"):
        pytest.skip("Python 3.10 cannot set SQLite's limit of a pattern")
    before = digest(database)
    result = pool.run(database, MALFORMED[name])
    assert result.error
    assert_untouched(pool, database, before)


def test_statements_and_texts_are_capped_without_sqlites_own_limits(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = sqlite.SqliteDatabase(str(database), 2**30)
    monkeypatch.setitem(sqlite.LIMITS, sqlite.SQL_LENGTH, 16)
    assert opened.execute("SELECT 'eight'", time.monotonic() + 9).fetchmany(1) == [("eight",)]
    with pytest.raises(sqlite3.DataError, match="too large"):
        opened.execute("SELECT '€€€'", time.monotonic() + 9)
    monkeypatch.setitem(sqlite.LIMITS, sqlite.LENGTH, 4)
    assert sqlite.text_of(b"four") == "four"
    with pytest.raises(sqlite3.DataError, match="too big"):
        opened.execute("SELECT 'five'||5", time.monotonic() + 9).fetchmany(1)
    opened.close()


def test_refusals_say_what_was_refused(pool: ExecutorPool, database: Path) -> None:
    assert "UPDATE item" in (pool.run(database, "UPDATE item SET name = ''").error or "")
    assert "load_extension" in (pool.run(database, "SELECT load_extension('x')").error or "")
    # A refusal does not stick to the next error.
    assert "no such table" in (pool.run(database, "SELECT * FROM nowhere").error or "")


def test_reading_the_schema_is_allowed(pool: ExecutorPool, database: Path) -> None:
    assert pool.run(database, "SELECT name FROM sqlite_master").rows == [("item",)]
    assert len(pool.run(database, "PRAGMA table_info(item)").rows) == 2
    assert len(pool.run(database, "SELECT * FROM pragma_table_info('item')").rows) == 2
    assert pool.run(database, "SELECT value FROM json_each('[1, 2]')").rows == [(1,), (2,)]


def test_full_text_tables_can_be_read(pool: ExecutorPool, tmp_path: Path) -> None:
    path = tmp_path / "text.sqlite"
    connection = sqlite3.connect(path)
    try:
        connection.execute("CREATE VIRTUAL TABLE note USING fts5(body)")
    except sqlite3.OperationalError:
        pytest.skip("this SQLite has no FTS5")
    connection.execute("INSERT INTO note VALUES ('red ink')")
    connection.execute("CREATE VIEW notes AS SELECT body FROM note")
    connection.commit()
    connection.close()
    assert pool.run(path, "SELECT body FROM note WHERE note MATCH 'ink'").rows == [("red ink",)]
    assert pool.run(path, "SELECT body FROM notes").rows == [("red ink",)]
    assert pool.run(path, "INSERT INTO note VALUES ('x')").error


def test_a_hanging_worker_is_killed_and_replaced(pool: ExecutorPool, database: Path) -> None:
    killed = pool.run(database, ENDLESS["one instruction"], timeout_s=LIMIT_S)
    assert killed.timed_out
    assert "killed" in (killed.error or "")
    assert pool.run(database, "SELECT 1").rows == [(1,)]


def test_caps_cut_results_and_say_so(database: Path) -> None:
    with ExecutorPool(workers=1, max_rows=300, max_cells=4_000, max_bytes=20_000) as pool:
        assert pool.run(database, "SELECT id FROM item").ok
        cut = pool.run(database, "SELECT id FROM item", max_rows=299)
        assert (len(cut.rows), cut.truncated, cut.ok) == (299, True, False)
        assert pool.run(database, "SELECT 1 WHERE 0", max_rows=0).ok
        assert pool.run(database, "SELECT *, *, *, *, *, *, *, * FROM item").truncated
        assert pool.run(database, "SELECT name || printf('%.*c', 100, 'x') FROM item").truncated
        assert pool.run(database, "SELECT zeroblob(100) FROM item").truncated
        assert pool.run(database, "SELECT name FROM item").ok


def test_text_that_is_not_utf8_is_read_as_the_official_evaluators_read_it(pool: ExecutorPool, database: Path) -> None:
    assert pool.run(database, "SELECT CAST(x'61ff62' AS TEXT)").rows == [("ab",)]
