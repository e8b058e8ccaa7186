"""A verdict by digest is the verdict by rows, whatever the rows, and it takes no more memory for more rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learnat.sql.execution import ExecutorPool, Query, Result
from learnat.sql.execution_worker.digests import digest
from learnat.sql.results import digest_kind, equal

Rows = list[tuple[Any, ...]]
MODES = [("bird_set", ""), ("ordered", ""), ("spider_bag", ""), ("spider_bag", "order by")]


def result(rows: Rows) -> Result:
    return Result((), rows, None, 0.0, False, False)


def cut(rows: Rows, mode: str, gold_sql: str) -> Result:
    """The same result as the worker sends it where a cap cuts it; the rows come in batches of two."""
    batches = [rows[i : i + 2] for i in range(0, len(rows), 2)]
    return replace(result([]), truncated=True, digest=digest(digest_kind(mode, gold_sql), lambda: batches))


cells = st.sampled_from(
    [0, 1, 2, 10, None, "a", "1", "", b"a", 0.0, 1.0, -0.0, 1.5, 10.0, 2**70, float(2**70), 1e300, Decimal("1.5")]
)


@st.composite
def table_pairs(draw: st.DrawFn) -> tuple[Rows, Rows]:
    """A table and another: rows and columns in another order, rows repeated or left out, cells changed, sometimes."""
    width = draw(st.integers(1, 4))
    gold = draw(st.lists(st.tuples(*[cells] * width), max_size=6))
    order = draw(st.one_of(st.just(tuple(range(width))), st.permutations(range(width))))
    rows = draw(st.one_of(st.just(gold), st.permutations(gold), st.lists(st.sampled_from(gold or [()]), max_size=7)))
    predicted = [tuple(row[j] for j in order) for row in rows if row]
    for _ in range(draw(st.integers(0, 2)) if predicted else 0):
        i, j = draw(st.integers(0, len(predicted) - 1)), draw(st.integers(0, width - 1))
        predicted[i] = (*predicted[i][:j], draw(cells), *predicted[i][j + 1 :])
    return gold, predicted


@settings(max_examples=600, deadline=None)
@given(table_pairs(), st.sampled_from(MODES))
def test_a_verdict_by_digest_is_the_verdict_by_rows(pair: tuple[Rows, Rows], mode: tuple[str, str]) -> None:
    gold, predicted = pair
    verdict = equal(result(gold), result(predicted), *mode)
    assert equal(cut(gold, *mode), cut(predicted, *mode), *mode) == verdict
    assert equal(result(gold), cut(predicted, *mode), *mode) == verdict


def test_the_cases_that_tell_the_digests_apart() -> None:
    rows = [(1, "a"), (2, "b"), (2, "b")]
    for mode, gold_sql, other, verdict in [
        ("bird_set", "", [(2, "b"), (1, "a")], True),
        ("spider_bag", "", [(2, "b"), (1, "a")], False),
        ("spider_bag", "", [("b", 2), ("a", 1), ("b", 2)], True),
        ("spider_bag", "order by", [("b", 2), ("a", 1), ("b", 2)], False),
        ("spider_bag", "order by", [("a", 1), ("b", 2), ("b", 2)], True),
        ("ordered", "", [("a", 1), ("b", 2), ("b", 2)], False),
    ]:
        assert equal(cut(rows, mode, gold_sql), cut(other, mode, gold_sql), mode, gold_sql) == verdict


def test_a_digest_of_another_kind_decides_nothing() -> None:
    rows: Rows = [(1,), (2,)]
    assert not equal(cut(rows, "ordered", ""), cut(rows, "ordered", ""), "bird_set")


def test_columns_that_are_too_alike_have_no_digest() -> None:
    rows: Rows = [tuple((i * j) % 2 for j in range(12)) for i in range(4)]
    assert cut(rows, "spider_bag", "").digest is None
    assert not equal(cut(rows, "spider_bag", ""), cut(rows, "spider_bag", ""), "spider_bag")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("digests") / "item.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price)")
    rows = [(i, f"item {i % 50}", (i % 7) / 2 if i % 3 else i % 7) for i in range(600)]
    connection.executemany("INSERT INTO item VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


@pytest.fixture(scope="module")
def pool() -> Iterator[ExecutorPool]:
    with ExecutorPool(workers=1) as pool:
        yield pool


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_a_capped_pool_and_a_free_one_agree(pool: ExecutorPool, database: Path, mode: tuple[str, str]) -> None:
    texts = [
        "SELECT id, name FROM item",
        "SELECT name, id FROM item ORDER BY id",
        "SELECT name, id FROM item ORDER BY id DESC",
        "SELECT id, name FROM item UNION ALL SELECT id, name FROM item",
        "SELECT id, name FROM item WHERE id <> 300 UNION ALL SELECT 301, 'item 1'",
        "SELECT price, name FROM item",
        "SELECT name, price + 0.0 FROM item",
        "SELECT a.id, b.id FROM item a, item b WHERE a.id < 40 AND b.id < 40",
        "SELECT b.id, a.id FROM item a, item b WHERE a.id < 40 AND b.id < 40 ORDER BY 1, 2",
    ]
    queries = [Query(database, sql, digest_kind(*mode)) for sql in texts]
    free, capped = pool.map(queries), pool.map(queries, max_rows=100)
    assert all(result.ok for result in free)
    assert all(result.truncated and result.digest and not result.rows for result in capped)
    verdicts = [[equal(a, b, mode[0], mode[1]) for b in free] for a in free]
    assert [[equal(a, b, mode[0], mode[1]) for b in capped] for a in capped] == verdicts
    assert [[equal(a, b, mode[0], mode[1]) for b in capped] for a in free] == verdicts
    assert len({tuple(row) for row in verdicts}) > 3


def test_a_large_result_takes_little_memory(database: Path) -> None:
    sql = "SELECT a.id % 1000, b.name FROM item a, item b"
    cap = 96 * 2**20
    with ExecutorPool(workers=1, memory_bytes=cap, max_rows=1000) as pool:
        whole = pool.run(database, sql, digest="set")
        other = pool.run(database, f"SELECT DISTINCT * FROM ({sql})", digest="set")
    assert whole.truncated and whole.digest is not None, whole.error
    assert whole.digest == other.digest


def test_a_digest_ends_at_the_time_limit(pool: ExecutorPool, database: Path) -> None:
    endless = "SELECT a.id, b.name FROM item a, item b, item c, item d"
    result = pool.run(database, endless, timeout_s=0.3, max_rows=10, digest="sequence")
    assert result.timed_out and result.digest is None
    assert result.seconds < 1.3
