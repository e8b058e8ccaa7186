"""A table names every stage, split, level, and what its figures must be read with."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from learnat.evaluation.formats import to_latex, to_markdown
from learnat.evaluation.table import feature_rows, metric_names, rows, score_markdown, score_table


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


def test_each_metric_says_what_its_own_figures_must_be_read_with() -> None:
    of_split = scores(0.5, timed_out=3)
    of_split["ts"] = {"all": 0.25}
    of_split["r_ves"] = {"all": 1.1}
    of_split["provenance"]["metrics"] = {
        "ts": {
            "evaluator": "somebody's",
            "comparison": "spider_bag on 662 databases",
            "database_hash": "beef",
            "questions": 280,
            "not_scored": 20,
            "timed_out": 1,
            "gold_failed": 0,
        }
    }
    found = rows({"a": {"dev": of_split}}, "ts")
    assert found.title == "Test suite, %"
    assert found.rows == (("a", "dev", "280", "25.0"),)
    for part in ("somebody's", "spider_bag on 662 databases", "databases beef", "not scored 20", "timed out 1"):
        assert part in found.note
    assert "timed out 3" in rows({"a": {"dev": of_split}}, "ex").note
    assert rows({"a": {"dev": of_split}}, "r_ves").title == "R-VES, × 100"


def test_features() -> None:
    figure = {"value": 0.5, "interval": [0.25, 0.75], "questions": 8}
    of_split = {"features": {"join": {"ex": figure, "ts": figure | {"value": 0.25}}, "plain": {"ex": figure}}}
    assert to_markdown(feature_rows(of_split)).splitlines()[:4] == [
        "| feature | questions | EX | Test suite |",
        "| --- | ---: | ---: | ---: |",
        "| join | 8 | 50.0 [25.0, 75.0] | 25.0 [25.0, 75.0] |",
        "| plain | 8 | 50.0 [25.0, 75.0] | – |",
    ]


def test_latex() -> None:
    text = to_latex(rows(METRICS))
    assert r"\begin{tabular}{llrrrr}" in text
    assert r"stage & split & questions & all & simple & challenging \\" in text
    assert r"untrained & dev\_seen & 300 & 6.2 [1.2, 11.2] & 6.2 & 12.5 \\" in text
    assert r"\caption{EX, \%. comparison spider\_bag;" in text
    assert text.count("{") == text.count("}")
