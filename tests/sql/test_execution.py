"""What must hold: no statement writes, none outlives its limit, and the next query is answered."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from learnat.errors import LearnatError
from learnat.sql.execution import Executor, ExecutorPool, Query, shared_pool

LIMIT_S = 0.4

ENDLESS = {
    "recursive CTE": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
    "recursive CTE, no row": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT 1 FROM c WHERE x = 0",
    "cross join": "SELECT count(*) FROM item a, item b, item c, item d, item e, item f, item g",
    "cross join, ordered": "SELECT a.id FROM item a, item b, item c, item d, item e ORDER BY a.id * b.id % 7, e.id",
    "correlated": "SELECT sum((SELECT count(*) FROM item e WHERE e.id > a.id + b.id)) FROM item a, item b, item c",
    "one instruction": f"SELECT hex(zeroblob(8000000)) LIKE '%{'0' * 900}x'",
}
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


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "shop's 100% #1?.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
    connection.executemany("INSERT INTO item VALUES (?, ?)", [(i, f"item {i}") for i in range(1, 301)])
    connection.commit()
    connection.close()
    return path


@pytest.fixture(scope="module")
def pool() -> Iterator[ExecutorPool]:
    with ExecutorPool(workers=1, timeout_s=20.0, memory_bytes=512 * 2**20) as pool:
        yield pool


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_untouched(pool: ExecutorPool, database: Path, before: str) -> None:
    result = pool.run(database, "SELECT count(*), max(id) FROM item")
    assert result.ok, result.error
    assert result.rows == [(300, 300)]
    assert digest(database) == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]


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
    before = digest(database)
    result = pool.run(database, MALFORMED[name])
    assert result.error
    assert_untouched(pool, database, before)


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


def test_map_keeps_the_order_over_workers_and_databases(database: Path, tmp_path: Path) -> None:
    queries = [Query(database, f"SELECT name FROM item WHERE id = {i}") for i in range(1, 101)]
    ticks: list[int] = []
    with ExecutorPool(workers=2) as pool:
        results = pool.map(queries, on_result=lambda: ticks.append(1))
    assert [result.rows for result in results] == [[(f"item {i}",)] for i in range(1, 101)]
    assert len(ticks) == 100


def test_threads_share_a_pool(database: Path) -> None:
    answers: dict[int, list[tuple[int]]] = {}
    with ExecutorPool(workers=2) as pool:

        def ask(i: int) -> None:
            answers[i] = pool.run(database, f"SELECT {i}").rows

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {i: [(i,)] for i in range(20)}


def test_more_databases_than_a_worker_keeps_open(pool: ExecutorPool, tmp_path: Path) -> None:
    for round_ in range(2):
        for i in range(12):
            path = tmp_path / f"{i}.sqlite"
            if round_ == 0:
                connection = sqlite3.connect(path)
                connection.execute(f"CREATE TABLE t AS SELECT {i} AS x")
                connection.commit()
                connection.close()
            assert pool.run(path, "SELECT x FROM t").rows == [(i,)]


def test_a_database_written_anew_is_read_anew(pool: ExecutorPool, tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    for value in (1, 2):
        fresh = tmp_path / "fresh.sqlite"
        connection = sqlite3.connect(fresh)
        connection.execute(f"CREATE TABLE t AS SELECT {value} AS x")
        connection.commit()
        connection.close()
        fresh.replace(path)
        assert pool.run(path, "SELECT x FROM t").rows == [(value,)]


def test_executor_takes_a_path_or_a_database(database: Path) -> None:
    with Executor(database) as by_path, Executor(SimpleNamespace(path=database), max_rows=3) as by_database:
        assert by_path.run("SELECT max(id) FROM item").rows == [(300,)]
        assert by_database.run("SELECT * FROM item").truncated
        assert by_database.run("SELECT * FROM item", max_rows=300).ok
        assert by_path.run(ENDLESS["recursive CTE"], timeout_s=LIMIT_S).timed_out
    with pytest.raises(LearnatError, match="toys"):
        Executor(SimpleNamespace(path=None, db_id="toys"))


def test_a_fork_gets_workers_of_its_own(database: Path) -> None:
    executor = Executor(database)
    assert executor.run("SELECT 1").rows == [(1,)]
    child = os.fork()
    if child == 0:
        os._exit(0 if executor.run("SELECT 2").rows == [(2,)] else 1)
    assert executor.run("SELECT 3").rows == [(3,)]
    assert os.waitpid(child, 0)[1] == 0
    assert executor.run("SELECT 4").rows == [(4,)]


def test_closing_ends_a_running_query(database: Path) -> None:
    pool = ExecutorPool(workers=1)
    pool.run(database, "SELECT 1")
    found: list[str | None] = []

    def ask(sql: str) -> None:
        try:
            found.append(pool.run(database, sql, timeout_s=60.0).error)
        except RuntimeError as error:
            found.append(str(error))

    threads = [threading.Thread(target=ask, args=(ENDLESS["recursive CTE"],)) for _ in range(3)]
    for thread in threads:
        thread.start()
    while not pool._busy:
        pass
    pool.close()
    for thread in threads:
        thread.join(20)
    # One ran and died with its worker, two waited for it.
    assert sorted(message is not None and "closed" in message for message in found) == [False, True, True]


def test_an_interrupt_ends_a_map(database: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with ExecutorPool(workers=2) as pool:
        with pytest.raises(KeyboardInterrupt):
            pool.map(
                [Query(database, "SELECT 1"), *[Query(database, ENDLESS["cross join"])] * 50],
                timeout_s=60.0,
                on_result=interrupt,
            )
        assert pool.run(database, "SELECT 1").rows == [(1,)]


def test_a_worker_ends_with_its_parent(database: Path) -> None:
    code = (
        "import os, sys; from learnat.sql.execution import ExecutorPool; pool = ExecutorPool(1);"
        "pool.run(sys.argv[1], 'SELECT 1'); print(pool._idle.queue[-1]._process.pid, flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(database)], check=False, capture_output=True, text=True
    ).stdout
    worker = Path("/proc") / out.strip()
    for _ in range(100):
        if not worker.exists() or "zombie" in (worker / "status").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail(f"the worker {out} outlived its parent")


def test_workers_end_with_the_pool(database: Path) -> None:
    pool = ExecutorPool(workers=2)
    pool.map([Query(database, "SELECT 1")] * 10)
    workers = [worker for worker in pool._idle.queue if worker is not None]
    assert workers
    pool.close()
    assert not any(worker.alive for worker in workers)
    with pytest.raises(RuntimeError, match="closed"):
        pool.run(database, "SELECT 1")


def test_execution_imports_no_torch() -> None:
    code = "import sys, learnat.sql.execution; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shared_pool_is_one(database: Path) -> None:
    assert shared_pool() is shared_pool()


@pytest.mark.parametrize("given", [{"workers": 0}, {"max_rows": 0}, {"timeout_s": -1}, {"timeout_s": "1 s"}])
def test_a_limit_that_nothing_could_meet_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(LearnatError, match=r"must be a .* above 0"):
        ExecutorPool(**given)


def test_a_worker_that_cannot_start_leaves_its_place(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    with ExecutorPool(workers=1) as pool:
        with monkeypatch.context() as patch:
            patch.setattr(subprocess, "Popen", no_process)
            with pytest.raises(OSError, match="no more processes"):
                pool.run(database, "SELECT 1")
        assert pool.run(database, "SELECT 1").rows == [(1,)]
