"""A gold query is executed once; what is kept is what it returns, and never what may be different tomorrow."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from learnat.sql.execution import ExecutorPool, Query, Result
from learnat.sql.gold_results import FILE, GoldResults
from learnat.sql.result_store import MAX_RESULT_BYTES, ResultStore


class CountingPool(ExecutorPool):
    """A pool that remembers what it was asked to execute."""

    def __init__(self, **options: int) -> None:
        super().__init__(**options)
        self.asked: list[str] = []

    def run(self, path: Path | str, sql: str, *args: object, **options: object) -> Result:
        self.asked.append(sql)
        return super().run(path, sql, *args, **options)  # type: ignore[arg-type]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "item.sqlite"
    write(path, "pen")
    return path


def write(path: Path, name: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY, name TEXT, price REAL, picture BLOB)")
    connection.execute("INSERT INTO item (name, price, picture) VALUES (?, 1.5, x'00ff')", (name,))
    connection.commit()
    connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def pool() -> Iterator[CountingPool]:
    with CountingPool(workers=1) as pool:
        yield pool


def test_a_result_is_found_again_as_it_was(pool: CountingPool, database: Path, folder: Path) -> None:
    sql = "SELECT *, NULL, 9223372036854775807, 'é' FROM item"
    first = GoldResults(pool, folder).run(database, sql)
    assert first.rows == [(1, "pen", 1.5, b"\x00\xff", None, 2**63 - 1, "é")]
    assert GoldResults(pool, folder).run(database, sql) == first
    assert pool.asked == [sql]


def test_map_keeps_the_order_and_runs_what_is_missing(pool: CountingPool, database: Path, folder: Path) -> None:
    texts = [f"SELECT {i} FROM item" for i in range(30)]
    GoldResults(pool, folder).map([Query(database, sql) for sql in texts[10:20]])
    pool.asked.clear()
    ticks: list[int] = []
    results = GoldResults(pool, folder).map([Query(database, sql) for sql in texts], on_result=lambda: ticks.append(1))
    assert [result.rows for result in results] == [[(i,)] for i in range(30)]
    assert sorted(pool.asked) == sorted(texts[:10] + texts[20:])
    assert len(ticks) == 30


def test_another_content_is_another_key(pool: CountingPool, database: Path, folder: Path) -> None:
    gold = GoldResults(pool, folder)
    assert gold.run(database, "SELECT name FROM item").rows == [("pen",)]
    write(database, "ink")
    assert gold.run(database, "SELECT name FROM item").rows == [("pen",), ("ink",)]
    copy = database.with_name("copy.sqlite")
    copy.write_bytes(database.read_bytes())
    pool.asked.clear()
    assert gold.run(copy, "SELECT name FROM item").rows == [("pen",), ("ink",)]
    assert pool.asked == []  # the content counts, not the path


def test_caps_and_digest_are_part_of_the_key(pool: CountingPool, database: Path, folder: Path) -> None:
    write(database, "ink")
    sql = "SELECT name FROM item"
    with CountingPool(workers=1, max_rows=1) as small:
        cut = GoldResults(small, folder).run(database, sql, digest="set")
        assert cut.truncated and cut.digest
        assert GoldResults(small, folder).run(database, sql, digest="set") == cut
        assert GoldResults(small, folder).run(database, sql, digest="sequence").digest != cut.digest
        GoldResults(small, folder).run(database, sql)
        GoldResults(small, folder).run(database, sql)
        assert len(small.asked) == 4, "a result that was cut and has no digest is not kept"
    assert GoldResults(pool, folder).run(database, sql, digest="set").ok


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM nowhere",
        "SELECT",
        "SELECT hex(zeroblob(16000000))",
        "SELECT random()",
        "SELECT date('now')",
        "SELECT DATE() - 1",
        "SELECT strftime('%Y')",
        "SELECT CURRENT_TIMESTAMP",
    ],
)
def test_errors_and_what_changes_are_not_kept(pool: CountingPool, database: Path, folder: Path, sql: str) -> None:
    for _ in range(2):
        GoldResults(pool, folder).run(database, sql)
    assert pool.asked == [sql, sql]


def test_a_time_out_is_not_kept_and_a_slow_result_not_used_under_a_shorter_limit(
    pool: CountingPool, database: Path, folder: Path
) -> None:
    gold = GoldResults(pool, folder)
    slow = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 1000000) SELECT count(*) FROM c"
    assert gold.run(database, slow, timeout_s=0.01).timed_out
    assert gold.run(database, slow, timeout_s=30.0).rows == [(1_000_000,)]
    assert gold.run(database, slow, timeout_s=0.01).timed_out
    assert gold.run(database, slow, timeout_s=30.0).ok
    assert len(pool.asked) == 3


def test_a_database_with_unfinished_changes_is_not_kept(pool: CountingPool, database: Path, folder: Path) -> None:
    connection = sqlite3.connect(database)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("INSERT INTO item (name) VALUES ('new')")
    connection.commit()
    for _ in range(2):
        assert GoldResults(pool, folder).run(database, "SELECT count(*) FROM item").rows == [(2,)]
    connection.close()
    assert len(pool.asked) == 2


def result(text: str) -> Result:
    return Result(("x",), [(text,)], None, 0.1, False, False)


def test_the_file_is_bounded_and_what_was_used_last_stays(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / FILE, max_bytes=2**20)
    for i in range(100):
        store.put({bytes([i]): result(os.urandom(10_000).hex())})
    assert (tmp_path / FILE).stat().st_size < 1.5 * 2**20
    assert store.get([bytes([99])]).keys() == {bytes([99])}
    assert 20 < len(store.get(bytes([i]) for i in range(100))) < 100


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / FILE, max_bytes=2**20)
    store.put({bytes([i]): result(os.urandom(10_000).hex()) for i in range(40)})
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("UPDATE results SET used = used - 2")
    store.get([bytes([7])])
    store.put({bytes([100 + i]): result(os.urandom(10_000).hex()) for i in range(70)})
    left = store.get(bytes([i]) for i in range(40)).keys()
    assert bytes([7]) in left and len(left) < 40


def test_a_large_result_is_not_kept(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / FILE)
    store.put({b"large": result(os.urandom(MAX_RESULT_BYTES).hex()), b"small": result("x")})
    assert store.get([b"large", b"small"]) == {b"small": result("x")}


def test_a_damaged_or_unusable_file_costs_time_and_nothing_else(
    pool: CountingPool, database: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    (folder / FILE).write_bytes(b"no database" * 1000)
    gold = GoldResults(pool, folder)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert gold.run(database, "SELECT name FROM item").rows == [("pen",)]
    assert [FILE in record.getMessage() for record in caplog.records] == [True]


def test_a_damaged_entry_is_executed_again(pool: CountingPool, database: Path, folder: Path) -> None:
    gold = GoldResults(pool, folder)
    gold.run(database, "SELECT name FROM item")
    with sqlite3.connect(folder / FILE) as connection:
        value = connection.execute("SELECT value FROM results").fetchone()[0]
        connection.execute("UPDATE results SET value = ?", (value[:-3] + bytes([value[-3] ^ 1]) + value[-2:],))
    assert gold.run(database, "SELECT name FROM item").rows == [("pen",)]
    assert len(pool.asked) == 2


WRITER = """
import sys
import time
from pathlib import Path
from learnat.sql.execution import Result
from learnat.sql.result_store import ResultStore
store = ResultStore(Path(sys.argv[1]))
for i in range(100_000):
    rows = [(f"{sys.argv[2]} {i}",)] * 50
    store.put({f"{sys.argv[2]} {i}".encode(): Result(("x",), rows, None, 0.1, False, False)})
    print(i, flush=True)
    time.sleep(0.003)  # without a gap the other one may wait for the lock until it gives up
"""


def test_processes_share_the_file_and_a_kill_leaves_it_sound(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / FILE), name], stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    written: dict[str, int] = {}
    try:
        for writer in writers:
            assert writer.stdout is not None and writer.stdout.readline() == "0\n"
        time.sleep(1.0)
    finally:
        for writer, name in zip(writers, "ab", strict=True):
            os.kill(writer.pid, signal.SIGKILL)
            written[name] = len(writer.communicate()[0].split())  # what was told after the first
    store = ResultStore(tmp_path / FILE)
    for name, count in written.items():
        keys = [f"{name} {i}".encode() for i in range(count + 1)]
        found = store.get(keys)
        assert list(found) != [] and found.keys() == set(keys)
        assert all(result.rows == [(key.decode(),)] * 50 for key, result in found.items())
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_file_replaced_while_its_query_runs_lends_nothing_to_the_old_one(
    database: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = database.read_bytes()
    with CountingPool(workers=1) as pool:
        run = pool.map

        def replaced_first(*args: object, **options: object) -> list[Result]:
            database.unlink()
            write(database, "ink")
            return run(*args, **options)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(pool, "map", replaced_first)
            GoldResults(pool, folder).run(database, "SELECT name FROM item")
        database.write_bytes(old)
        assert GoldResults(pool, folder).run(database, "SELECT name FROM item").rows == [("pen",)]


def test_of_a_large_file_the_time_of_its_change_counts(
    database: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learnat.sql.gold_results.WHOLE", 0)
    with CountingPool(workers=1) as pool:
        GoldResults(pool, folder).run(database, "SELECT name FROM item")
        os.utime(database, ns=(1, 1))
        GoldResults(pool, folder).run(database, "SELECT name FROM item")
        GoldResults(pool, folder).run(database, "SELECT name FROM item")
        assert len(pool.asked) == 2
