"""The database of items that queries are tried on, those that never end, and the proof that none changed it."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from learnat.sql.execution import ExecutorPool

LIMIT_S = 0.4

ENDLESS = {
    "recursive CTE": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
    "recursive CTE, no row": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT 1 FROM c WHERE x = 0",
    "cross join": "SELECT count(*) FROM item a, item b, item c, item d, item e, item f, item g",
    "cross join, ordered": "SELECT a.id FROM item a, item b, item c, item d, item e ORDER BY a.id * b.id % 7, e.id",
    "correlated": "SELECT sum((SELECT count(*) FROM item e WHERE e.id > a.id + b.id)) FROM item a, item b, item c",
    "one instruction": f"SELECT hex(zeroblob(8000000)) LIKE '%{'0' * 900}x'",
}


def write_items(path: Path) -> Path:
    """300 rows in one table, at ``path``."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
        connection.executemany("INSERT INTO item VALUES (?, ?)", [(i, f"item {i}") for i in range(1, 301)])
        connection.commit()
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_untouched(pool: ExecutorPool, database: Path, before: str) -> None:
    result = pool.run(database, "SELECT count(*), max(id) FROM item")
    assert result.ok, result.error
    assert result.rows == [(300, 300)]
    assert digest(database) == before
    assert [path.name for path in database.parent.iterdir()] == [database.name]
