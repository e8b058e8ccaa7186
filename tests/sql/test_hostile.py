"""A thousand hostile statements: none writes, none outlives its limit, and the next query is answered."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from learnat.sql.execution import ExecutorPool, Result
from tests.sql.hostile import Statement, invalid_bytes, statements

COUNT = 1_000
LIMIT_S = 0.2
OVERTIME_S = 1.0
MEMORY_BYTES = 384 * 2**20
PROBE = "SELECT count(*), max(id) FROM item"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one database in the usual journal mode and one in WAL mode."""
    for name, mode in (("plain", "DELETE"), ("wal", "WAL")):
        connection = sqlite3.connect(tmp_path / f"{name}.sqlite")
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)")
        connection.execute("CREATE INDEX by_name ON item (name)")
        connection.execute("CREATE VIEW items AS SELECT * FROM item")
        connection.execute("CREATE TRIGGER watched AFTER UPDATE ON item BEGIN SELECT 1; END")
        connection.executemany("INSERT INTO item VALUES (?, ?)", [(i, f"item {i}") for i in range(1, 301)])
        connection.commit()
        connection.close()
    return tmp_path


def state(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def high_water(pid: int) -> int:
    """Peak resident memory of a process in bytes, 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


@contextmanager
def peak_memory(pool: ExecutorPool) -> Iterator[list[int]]:
    """The peaks of all workers the pool has had, sampled while the block runs."""
    peaks = [0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.02):
            workers = [*pool._busy.copy(), *(worker for worker in list(pool._idle.queue) if worker is not None)]
            peaks[0] = max([peaks[0], *(high_water(worker._process.pid) for worker in workers)])

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()


def held(statement: Statement, result: Result) -> bool:
    """Whether the statement came to the end that it must come to."""
    if statement.expected == "timeout":
        return result.timed_out
    if statement.expected == "error":
        return result.error is not None
    return sum(map(len, result.rows)) <= 4_000_000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads a process's memory from /proc")
def test_a_thousand_hostile_statements(folder: Path) -> None:
    before = state(folder)
    databases = [folder / name for name in before]
    cases = statements(seed=5, count=COUNT)
    assert len({case.sql for case in cases}) > 0.6 * COUNT

    def seconds_and_result(i: int) -> tuple[float, Result]:
        sql = cases[i].sql.replace("{other}", str(folder / "other"))
        start = time.monotonic()
        result = pool.run(databases[i % 2], sql, LIMIT_S)
        return time.monotonic() - start, result

    def attack(i: int) -> list[str]:
        seconds, result = seconds_and_result(i)
        if seconds > LIMIT_S + OVERTIME_S:
            # A busy machine may be late once; a guard that fails is late again.
            seconds, result = seconds_and_result(i)
        case, found = cases[i], []
        if not held(case, result):
            found.append(f"expected {case.expected}, got {result.error!r}, {len(result.rows)} rows")
        if seconds > LIMIT_S + OVERTIME_S:
            found.append(f"took {seconds:.2f} s")
        probe = pool.run(databases[i % 2], PROBE, 30.0)
        if probe.rows != [(300, 300)]:
            found.append(f"the next query gave {probe}")
        return [f"{case.family}: {case.sql[:120]!r}: {fault}" for fault in found]

    with (
        ExecutorPool(workers=2, memory_bytes=MEMORY_BYTES, max_rows=10_000) as pool,
        peak_memory(pool) as peaks,
        ThreadPoolExecutor(2) as threads,
    ):
        faults = [fault for found in threads.map(attack, range(COUNT)) for fault in found]
    assert not faults, "\n".join(faults)
    assert state(folder) == before
    assert 0 < peaks[0] <= MEMORY_BYTES


def test_the_statements_are_the_same_for_a_seed_and_cover_every_family() -> None:
    cases = statements(seed=5, count=COUNT)
    assert cases == statements(seed=5, count=COUNT)
    assert cases != statements(seed=6, count=COUNT)
    families = Counter(case.family for case in cases)
    assert len(families) == 33 and min(families.values()) >= 4


def test_bytes_that_are_no_text_are_errors(folder: Path) -> None:
    before = state(folder)
    with ExecutorPool(workers=1) as pool:
        for statement in invalid_bytes(seed=5, count=20):
            assert pool.run(folder / "plain.sqlite", statement).error  # type: ignore[arg-type]
        assert pool.run(folder / "plain.sqlite", PROBE).rows == [(300, 300)]
    assert state(folder) == before
