"""Test-suite accuracy: right on every database, executed no further than needed, and equal to the official verdicts."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from learnat.benchmarks.spider import SpiderBenchmark
from learnat.errors import LearnatError
from learnat.evaluation.run import ScoringRun
from learnat.evaluation.test_suite import TestSuiteAccuracy
from learnat.sql.execution import ExecutorPool
from tests.evaluation.toy import Folder, question

GOLD = "SELECT name FROM item WHERE id > 1"


@pytest.fixture
def suite(shop: Path) -> Path:
    """Three variants of the shop, which tell different queries from ``GOLD``."""
    rows = ([(1, "pen"), (2, "ink")], [(1, "pen"), (2, "pen")], [(1, "ink"), (2, "pen"), (3, "nib")])
    (shop / "suite/shop").mkdir(parents=True)
    for number, items in enumerate(rows):
        with closing(sqlite3.connect(shop / f"suite/shop/shop{number}.sqlite")) as connection:
            connection.execute("CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT)")
            connection.executemany("INSERT INTO item VALUES (?, ?)", items)
            connection.commit()
    return shop


def run_of(root: Path, pool: ExecutorPool, golds: list[str], predictions: list[str], db_id: str = "shop") -> ScoringRun:
    examples = [question(i, sql, "", db_id) for i, sql in enumerate(golds)]
    return ScoringRun(Folder(root, examples, "spider_bag", ()), "dev", dict(enumerate(predictions)), pool, 1.0)


def test_right_is_right_on_every_database(suite: Path, pool: ExecutorPool) -> None:
    predictions = [
        GOLD,
        "select  NAME from item where id > 1;",
        "SELECT name FROM item WHERE id >= 2",
        "SELECT name FROM item WHERE id = 2",  # differs on the last database
        "SELECT name FROM item WHERE name = 'ink'",  # differs on the second
        "SELECT nothing FROM item",
        "",
    ]
    measured = TestSuiteAccuracy().measure(run_of(suite, pool, [GOLD] * len(predictions), predictions))
    assert measured.values == (1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    assert measured.comparison == "spider_bag on 3 databases"
    assert (measured.timed_out, measured.gold_failed) == (0, 0)


def test_what_cannot_be_executed_is_counted(suite: Path, pool: ExecutorPool) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    failing = "SELECT nothing FROM item"
    run = run_of(suite, pool, [GOLD, failing, failing], [endless, "SELECT 1", failing])
    measured = TestSuiteAccuracy().measure(run)
    assert measured.values == (0.0, 0.0, 0.0)
    assert (measured.timed_out, measured.gold_failed) == (1, 2)


def test_a_refuted_prediction_is_not_executed_again(
    suite: Path, pool: ExecutorPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    executed: list[tuple[str, str]] = []
    run = pool.run

    def watched(path: Path, sql: str, timeout_s: float, **options: Any) -> object:
        executed.append((path.name, sql))
        return run(path, sql, timeout_s, **options)

    monkeypatch.setattr(pool, "run", watched)
    wrong = "SELECT name FROM item WHERE name = 'pen'"
    TestSuiteAccuracy().measure(run_of(suite, pool, [GOLD, GOLD], [GOLD, wrong]))
    # The first database refutes the wrong one; gold itself is executed there once, for both.
    assert executed == [("shop0.sqlite", GOLD), ("shop0.sqlite", wrong)]


def test_a_database_without_a_suite_gives_no_value(suite: Path, pool: ExecutorPool) -> None:
    examples = [question(0, GOLD), question(1, "SELECT 1", "", "garden")]
    run = ScoringRun(Folder(suite, examples, "spider_bag", ()), "dev", {0: GOLD, 1: "SELECT 1"}, pool)
    assert TestSuiteAccuracy().measure(run).values == (1.0, None)
    with pytest.raises(LearnatError, match=r"data\.test_suite=FOLDER"):
        TestSuiteAccuracy().measure(run_of(suite, pool, ["SELECT 1"], ["SELECT 1"], "garden"))


def test_official_verdicts(learnat_data: Path, pool: ExecutorPool) -> None:
    """One schema in three is enough here; the benchmark script runs all."""
    databases = {"concert_singer", "pets_1", "singer", "orchestra", "poker_player", "museum_visit", "course_teach"}
    official = json.loads((learnat_data / "parity/spider_dev_dail_gpt4.json").read_text())
    spider = SpiderBenchmark(learnat_data / "spider", samples=0, databases=databases)
    run = ScoringRun(spider, "dev", {row["index"]: row["predicted"] for row in official}, pool)
    values = dict(zip((e.index for e in run.examples), TestSuiteAccuracy().measure(run).values, strict=True))
    assert len(values) > 200
    assert [index for index, value in values.items() if value != official[index]["ts"]] == []
