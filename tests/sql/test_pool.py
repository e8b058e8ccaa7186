"""The pool: its workers, the threads and processes that share it, and how it ends."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from learnat.errors import LearnatError
from learnat.sql.execution import Executor, ExecutorPool, Query, shared_pool
from tests.sql.items import ENDLESS, LIMIT_S


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
