"""A table names every stage, split, level, and what its figures must be read with."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from learnat.evaluation.table import metric_names, score_markdown, score_table


def scores(share: float, timed_out: int = 0) -> dict[str, Any]:
    return {
        "ex": {"all": share, "simple": share, "challenging": 0.125},
        "intervals": {"ex": {"all": [share - 0.05, share + 0.05]}},
        "questions": {"all": 300, "simple": 200, "challenging": 100},
        "provenance": {
            "ex_mode": "spider_bag",
            "database_hash": "f00d",
            "sqlite_version": "3.40.1",
            "schema_given": "full",
            "skipped": 0,
            "timed_out": timed_out,
            "truncated": 0,
            "gold_failed": 0,
        },
    }


METRICS = {
    "untrained": {"dev_seen": scores(0.0625), "dev_unseen": scores(0.25)},
    "sft": {"dev_seen": scores(0.5, timed_out=3), "dev_unseen": {"em": {"all": 0.1}}},
}


def test_markdown() -> None:
    assert score_markdown(METRICS).splitlines() == [
        "| stage | split | questions | all | simple | challenging |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| untrained | dev_seen | 300 | 6.2 [1.2, 11.2] | 6.2 | 12.5 |",
        "| untrained | dev_unseen | 300 | 25.0 [20.0, 30.0] | 25.0 | 12.5 |",
        "| sft | dev_seen | 300 | 50.0 [45.0, 55.0] | 50.0 | 12.5 |",
        "",
        "comparison spider_bag; databases f00d; SQLite 3.40.1; schema given: full; skipped 0; timed out 0/0/3",
    ]


def test_terminal() -> None:
    out = StringIO()
    Console(file=out, width=120).print(score_table(METRICS, title="EX on the small benchmark"))
    text = out.getvalue()
    for word in ("EX on the small benchmark", "untrained", "dev_unseen", "50.0 [45.0, 55.0]", "spider_bag", "0/0/3"):
        assert word in text


def test_metrics_are_found_and_may_be_missing() -> None:
    assert metric_names(METRICS) == ["ex", "em"]
    assert score_markdown(METRICS, "em").splitlines() == [
        "| stage | split | questions | all |",
        "| --- | --- | ---: | ---: |",
        "| sft | dev_unseen |  | 10.0 |",
    ]


def test_levels_that_one_row_lacks_are_dashes() -> None:
    metrics = {"a": {"dev": {"ex": {"all": 1.0}}}, "b": {"dev": {"ex": {"all": 1.0, "hard": 0.0}}}}
    assert score_markdown(metrics).splitlines()[2] == "| a | dev |  | 100.0 | – |"
