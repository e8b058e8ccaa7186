"""A table names every stage, split, level, and what its figures must be read with."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

from learnat.evaluation.formats import to_latex, to_markdown, to_terminal
from learnat.evaluation.table import feature_rows, metric_names, rows


def scores(share: float, timed_out: int = 0) -> dict[str, Any]:
    return {
        "ex": {"all": share, "simple": share, "challenging": 0.125},
        "intervals": {"ex": {"all": [share - 0.05, share + 0.05]}},
        "scored": {"ex": {"all": 300, "simple": 200, "challenging": 100}},
        "questions": {"all": 300, "simple": 200, "challenging": 100},
        "provenance": {
            "ex_mode": "spider_bag",
            "database_hash": "f00d",
            "engine": "SQLite 3.40.1",
            "schema_given": "full",
            "skipped": 0,
            "failed": 5,
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
    assert to_markdown(rows(METRICS)).splitlines() == [
        "| stage | split | n | all | simple | challenging |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        "| untrained | dev_seen | 300 | 6.2 [1.2, 11.2] | 6.2 | 12.5 |",
        "| untrained | dev_unseen | 300 | 25.0 [20.0, 30.0] | 25.0 | 12.5 |",
        "| sft | dev_seen | 300 | 50.0 [45.0, 55.0] | 50.0 | 12.5 |",
        "",
        "comparison spider_bag; databases f00d; SQLite 3.40.1; schema given: full; skipped 0; did not run 5; "
        "timed out 0/0/3",
    ]


def terminal(table: Table, width: int = 80) -> str:
    out = StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


def test_terminal() -> None:
    text = terminal(to_terminal(rows(METRICS, title="EX on the small benchmark")), 120)
    for word in ("EX on the small benchmark", "untrained", "dev_unseen", "50.0 [45.0, 55.0]", "spider_bag", "0/0/3"):
        assert word in text


def test_metrics_are_found_and_may_be_missing() -> None:
    assert metric_names(METRICS) == ["ex", "em"]
    assert to_markdown(rows(METRICS, "em")).splitlines() == [
        "| stage | split | n | all |",
        "| --- | --- | ---: | ---: |",
        "| sft | dev_unseen |  | 10.0 |",
    ]


def test_levels_that_one_row_lacks_are_dashes() -> None:
    metrics = {"a": {"dev": {"ex": {"all": 1.0}}}, "b": {"dev": {"ex": {"all": 1.0, "hard": 0.0}}}}
    assert to_markdown(rows(metrics)).splitlines()[2] == "| a | dev |  | 100.0 | – |"


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


def test_a_figure_without_an_interval_stands_alone() -> None:
    of_split = scores(0.5)
    of_split["intervals"]["ex"]["all"] = None
    assert rows({"a": {"dev": of_split}}).rows == (("a", "dev", "300", "50.0", "50.0", "12.5"),)
    of_split["features"] = {"join": {"ex": {"value": 0.5, "interval": None, "questions": 8}}}
    assert feature_rows(of_split).rows == (("join", "8", "50.0"),)


def test_features() -> None:
    figure = {"value": 0.5, "interval": [0.25, 0.75], "questions": 8}
    of_fewer = figure | {"value": 0.25, "questions": 6}
    of_split = {"features": {"join": {"ex": figure, "ts": of_fewer}, "plain": {"ex": figure}}}
    assert to_markdown(feature_rows(of_split)).splitlines()[:4] == [
        "| feature | n | EX | Test suite |",
        "| --- | ---: | ---: | ---: |",
        "| join | 8 | 50.0 [25.0, 75.0] | 25.0 [25.0, 75.0] (n 6) |",
        "| plain | 8 | 50.0 [25.0, 75.0] | – |",
    ]
    assert "25.0 [25.0, 75.0] (n 6)" in to_latex(feature_rows(of_split))


def test_a_table_of_features_says_what_its_figures_must_be_read_with() -> None:
    figure = {"value": 0.5, "interval": None, "questions": 8}
    of_split = scores(0.5, timed_out=3) | {"features": {"join": {"ex": figure, "em": figure}}}
    of_ex = {"evaluator": "ours", "comparison": "spider_bag", "database_hash": "f00d", "engine": "SQLite 3.40.1"}
    of_em = {"evaluator": "theirs", "comparison": "clauses", "database_hash": "f00d", "engine": None, "timed_out": 0}
    of_split["provenance"] |= {"metrics": {"ex": of_ex, "em": of_em}, "benchmark": "toy"}
    found = feature_rows(of_split, "mine.sql, dev")
    assert found.title == "By what the gold query uses, × 100: mine.sql, dev"
    assert found.note == (
        "n: questions, each in every row that applies to it; beside a figure, where its metric scored fewer. In "
        "brackets: 95 % intervals. databases f00d; schema given: full; skipped 0; did not run 5. "
        "EX: comparison spider_bag; SQLite 3.40.1; evaluator: ours; timed out 3. "
        "EM: comparison clauses; nothing executed; evaluator: theirs; timed out 0"
    )
    assert "evaluator: theirs" in to_latex(found)
    # All that the metric's own table says stands here, too.
    for metric in ("ex", "em"):
        for part in rows({"mine.sql": {"dev": of_split | {"em": {"all": 0.5}}}}, metric).note.split("; "):
            assert part in found.note


def test_a_figure_of_fewer_questions_says_of_how_many() -> None:
    of_split = scores(0.5)
    of_split["ts"] = {"all": 0.25, "simple": 0.25, "challenging": 0.25}
    of_split["scored"]["ts"] = {"all": 280, "simple": 180, "challenging": 100}
    of_split["provenance"]["metrics"] = {"ts": {"questions": 280, "comparison": "suite"}}
    found = rows({"a": {"dev": of_split}}, "ts")
    assert found.rows == (("a", "dev", "280", "25.0", "25.0 (n 180)", "25.0"),)
    assert "25.0 (n 180)" in to_latex(found)
    # In a terminal below its figure, so that the columns stay narrow.
    assert "(n 180)" in terminal(to_terminal(found)) and "25.0 (n" not in terminal(to_terminal(found))


def test_a_table_fits_into_eighty_columns() -> None:
    of_split = scores(0.5)
    of_split["ex"] = {"all": 0.5, "simple": 0.5, "moderate": 0.5, "challenging": 0.5}
    stage = "runs/train/2026-01-01_12-00-00/checkpoints/madpo"
    text = terminal(to_terminal(rows({stage: {"dev_unseen": of_split}, "untrained": {"dev_seen": of_split}})))
    assert max(map(len, text.splitlines())) <= 80
    header = next(line for line in text.splitlines() if "stage" in line)
    assert header.split() == ["stage", "split", "n", "all", "simple", "moderate", "challenging"]
    for shown in ("50.0 [45.0, 55.0]", "dev_unseen", "untrained"):
        assert shown in text
    assert "…" not in text
    # A name that is too long is folded, not cut.
    before_split = "".join(line[: header.index("split")].strip() for line in text.splitlines())
    assert stage in before_split


def test_latex() -> None:
    text = to_latex(rows(METRICS))
    assert r"\begin{tabular}{llrrrr}" in text
    assert r"stage & split & n & all & simple & challenging \\" in text
    assert r"untrained & dev\_seen & 300 & 6.2 [1.2, 11.2] & 6.2 & 12.5 \\" in text
    assert r"\caption{EX, \%. comparison spider\_bag;" in text
    assert text.count("{") == text.count("}")
