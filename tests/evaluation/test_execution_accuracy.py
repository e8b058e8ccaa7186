"""Scores over a small benchmark made here, and over the real ones."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from learnat import __version__
from learnat.errors import LearnatError
from learnat.evaluation.execution_accuracy import ExecutionAccuracy, score_execution, summarize
from learnat.evaluation.predictions import read_predictions
from learnat.evaluation.run import ScoringRun
from learnat.evaluation.summary import make_scores
from learnat.sql.execution import ExecutorPool
from learnat.sql.gold_results import GoldResults
from learnat.sql.hardness import spider_hardness
from tests.evaluation.toy import GOLD, Folder, question, toy


def test_gold_against_gold_is_one(shop: Path, pool: ExecutorPool) -> None:
    for mode in ("bird_set", "spider_bag", "ordered"):
        verdicts = score_execution(toy(shop, mode), "dev", dict(enumerate(GOLD)), pool)
        assert summarize(verdicts, toy(shop, mode))["ex"] == {"all": 1.0, "easy": 1.0, "hard": 1.0}


def test_the_benchmark_decides_how_results_compare(shop: Path, pool: ExecutorPool) -> None:
    predictions = {0: "SELECT DISTINCT name FROM item", 1: "SELECT id, name FROM item", 2: "SELECT 3.0"}
    right = {}
    for mode in ("bird_set", "spider_bag", "ordered"):
        verdicts = score_execution(toy(shop, mode), "dev", predictions, pool)
        right[mode] = [verdict.correct for verdict in verdicts]
    assert right == {
        "bird_set": [True, False, True],
        "spider_bag": [True, True, True],  # DISTINCT is stripped, columns may stand in any order
        "ordered": [False, False, True],
    }


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


def test_a_gold_query_that_meets_the_time_limit_is_no_failed_prediction(shop: Path, pool: ExecutorPool) -> None:
    benchmark = Folder(shop, [question(0, ENDLESS), question(1, GOLD[0])], "bird_set", ())
    verdicts = score_execution(benchmark, "dev", {0: GOLD[0], 1: ENDLESS}, pool, timeout_s=0.3)
    assert [(verdict.executed, verdict.timed_out, verdict.correct) for verdict in verdicts] == [
        (True, True, False),
        (False, True, False),
    ]
    counted = summarize(verdicts, benchmark)["provenance"]
    assert (counted["failed"], counted["timed_out"], counted["gold_failed"]) == (1, 2, 1)


def test_verdicts_and_provenance_count_what_went_wrong(shop: Path, pool: ExecutorPool) -> None:
    benchmark = toy(shop)
    verdicts = score_execution(benchmark, "dev", {0: ENDLESS, 1: "", 2: GOLD[2], 99: "SELECT 1"}, pool, timeout_s=0.3)
    assert [verdict.index for verdict in verdicts] == [0, 1, 2]
    assert [verdict.correct for verdict in verdicts] == [False, False, True]
    assert [verdict.timed_out for verdict in verdicts] == [True, False, False]
    assert [verdict.executed for verdict in verdicts] == [False, False, True]
    assert verdicts[1].error == "the statement is empty"
    summary = summarize(verdicts, benchmark, timeout_s=0.3, schema_given="full")
    assert summary["ex"] == {"all": 1 / 3, "easy": 0.5, "hard": 0.0}
    assert summary["questions"] == {"all": 3, "easy": 2, "hard": 1}
    assert summary["scored"] == {"ex": {"all": 3, "easy": 2, "hard": 1}}
    assert summary["provenance"] == {
        "evaluator": f"learnat {__version__}, execution accuracy",
        "benchmark": "toy",
        "split": "dev",
        "ex_mode": "spider_bag",
        "database_hash": "f00d",
        "engine": f"SQLite {sqlite3.sqlite_version}",
        "timeout_s": 0.3,
        "questions": 3,
        "skipped": 2,
        "failed": 2,
        "timed_out": 1,
        "truncated": 0,
        "gold_failed": 0,
        "schema_given": "full",
        "execute_on": None,
        "metrics": {
            "ex": {
                "evaluator": f"learnat {__version__}, execution accuracy",
                "comparison": "spider_bag",
                "engine": f"SQLite {sqlite3.sqlite_version}",
                "database_hash": "f00d",
                "questions": 3,
                "not_scored": 0,
                "timed_out": 1,
                "truncated": 0,
                "gold_failed": 0,
                "control": None,
            }
        },
    }
    assert json.loads(json.dumps(summary)) == summary


def test_a_metric_says_how_many_questions_of_each_level_it_scored(shop: Path, pool: ExecutorPool) -> None:
    verdicts = score_execution(toy(shop), "dev", dict(enumerate(GOLD)), pool)
    metric = ExecutionAccuracy()
    some = replace(metric.measure(ScoringRun(toy(shop), "dev", dict(enumerate(GOLD)), pool)), values=(1.0, None, None))
    scores = make_scores([(metric, some)], verdicts, toy(shop), 30.0, "full").as_dict()
    assert scores["scored"] == {"ex": {"all": 1, "easy": 1}}
    assert scores["questions"] == {"all": 3, "easy": 2, "hard": 1}


def test_where_nothing_varies_a_figure_has_no_interval(shop: Path, pool: ExecutorPool) -> None:
    run = ScoringRun(toy(shop), "dev", dict(enumerate(GOLD)), pool)
    metric = ExecutionAccuracy()
    alike = replace(metric.measure(run), values=(0.866, 0.866, 0.866))
    scores = make_scores([(metric, alike)], metric.verdicts(run), toy(shop), 30.0, "full").as_dict()
    assert scores["intervals"] == {"ex": {"all": None, "easy": None, "hard": None}}
    assert scores["features"]["plain"]["ex"] == {"value": pytest.approx(0.866), "interval": None, "questions": 1}
    assert "null" in json.dumps(scores)


def test_results_beyond_a_cap_are_compared_by_digest(shop: Path) -> None:
    shuffled = ["SELECT name FROM item ORDER BY id DESC", "SELECT name, id FROM item ORDER BY id DESC", GOLD[2]]
    with ExecutorPool(workers=1, max_rows=2) as pool:
        verdicts = score_execution(toy(shop), "dev", dict(enumerate(GOLD)), pool)
        assert [verdict.correct for verdict in verdicts] == [True, True, True]
        verdicts = score_execution(toy(shop), "dev", dict(enumerate(shuffled)), pool)
        assert [verdict.correct for verdict in verdicts] == [True, False, True]
    assert summarize(verdicts, toy(shop))["provenance"]["truncated"] == 0


def test_a_result_that_could_not_be_compared_is_wrong_and_counted(shop: Path) -> None:
    # Five columns of the same values in any order: too many orders to try on more rows than are kept.
    alike = "SELECT a.id, b.id, c.id, d.id, e.id FROM item a, item b, item c, item d, item e"
    benchmark = Folder(shop, [question(0, alike)], "spider_bag", ())
    with ExecutorPool(workers=1, max_rows=2) as pool:
        verdicts = score_execution(benchmark, "dev", {0: alike.replace("a.id, b.id", "b.id, a.id")}, pool)
    assert [verdict.correct for verdict in verdicts] == [False]
    assert summarize(verdicts, benchmark)["provenance"]["truncated"] == 1


def test_gold_results_are_kept_between_runs(shop: Path, pool: ExecutorPool, tmp_path: Path) -> None:
    predictions = {0: GOLD[0], 1: "SELECT id, name FROM item ORDER BY id", 2: "SELECT 3 "}
    first = score_execution(toy(shop), "dev", predictions, pool, gold_results=GoldResults(pool, tmp_path / "cache"))
    with ExecutorPool(workers=1) as other:
        again = score_execution(
            toy(shop), "dev", predictions, other, gold_results=GoldResults(other, tmp_path / "cache")
        )
        assert other.run(shop / "shop.sqlite", "SELECT 1").ok
    assert [verdict.correct for verdict in first] == [verdict.correct for verdict in again] == [True, True, True]


def test_a_failing_gold_query_is_counted(shop: Path, pool: ExecutorPool) -> None:
    benchmark = Folder(shop, [question(0, "SELECT nothing FROM item")], "bird_set", ())
    verdicts = score_execution(benchmark, "dev", {0: "SELECT nothing FROM item"}, pool)
    assert not verdicts[0].correct
    assert "nothing" in (verdicts[0].gold_error or "")
    assert summarize(verdicts, benchmark)["provenance"]["gold_failed"] == 1


def test_mistakes_a_user_can_mend(shop: Path, pool: ExecutorPool) -> None:
    with pytest.raises(LearnatError, match="no prediction for 2"):
        score_execution(toy(shop), "dev", {0: "SELECT 1"}, pool)
    with pytest.raises(LearnatError, match="bag_spider"):
        score_execution(toy(shop, "bag_spider"), "dev", dict(enumerate(GOLD)), pool)
    with pytest.raises(LearnatError, match=r"'toys'.*data.missing=skip"):
        score_execution(Folder(shop, [question(0, "SELECT 1", "", "toys")], "ordered", ()), "dev", {0: ""}, pool)
    (shop / "text.sqlite").write_text("this is not a database at all")
    with pytest.raises(LearnatError, match=r"text\.sqlite is not a SQLite database"):
        score_execution(Folder(shop, [question(0, "SELECT 1", "", "text")], "ordered", ()), "dev", {0: ""}, pool)
    with pytest.raises(LearnatError, match="no question"):
        summarize([], toy(shop))


@pytest.fixture(scope="module")
def spider(learnat_data: Path) -> Folder:
    rows = json.loads((learnat_data / "spider/dev.json").read_text())
    examples = [question(i, row["query"], spider_hardness(row["query"]), row["db_id"]) for i, row in enumerate(rows)]
    return Folder(learnat_data / "spider/database", examples, "spider_bag", ("easy", "medium", "hard", "extra"))


def test_spider_gold_file_scores_one(spider: Folder, learnat_data: Path, pool: ExecutorPool) -> None:
    predictions = read_predictions(learnat_data / "spider/dev_gold.sql")
    scores = summarize(score_execution(spider, "dev", predictions, pool), spider)
    assert scores["questions"]["all"] == 1034
    assert set(scores["ex"].values()) == {1.0}
    assert scores["provenance"]["gold_failed"] == 0


def test_official_spider_figure(spider: Folder, learnat_data: Path, pool: ExecutorPool) -> None:
    predictions = read_predictions(learnat_data / "parity/spider_dev_dail_gpt4.json")
    scores = summarize(score_execution(spider, "dev", predictions, pool), spider)
    assert scores["ex"]["all"] == pytest.approx(0.8346, abs=5e-5)
    assert list(scores["ex"]) == ["all", "easy", "medium", "hard", "extra"]
    low, high = scores["intervals"]["ex"]["all"]
    assert low < 0.8346 < high


def test_official_bird_figure(learnat_data: Path, pool: ExecutorPool) -> None:
    rows = json.loads((learnat_data / "bird/dev/dev.json").read_text())
    examples = [
        question(i, row["SQL"], row["difficulty"], row["db_id"])
        for i, row in enumerate(rows)
        if row["db_id"] == "superhero"
    ]
    root = learnat_data / "bird/dev/dev_databases"
    bird = Folder(root, examples, "bird_set", ("simple", "moderate", "challenging"))
    predictions = read_predictions(learnat_data / "parity/bird_superhero_qwen7b.json")
    scores = summarize(score_execution(bird, "dev", predictions, pool), bird)
    assert scores["questions"]["all"] == 129
    assert scores["ex"]["all"] == pytest.approx(0.7907, abs=5e-5)
