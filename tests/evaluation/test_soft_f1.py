"""Soft-F1 by its laws, on worked cases, and on all official scores at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.benchmarks.bird import BirdBenchmark
from learnat.evaluation.execution_accuracy import ExecutionAccuracy
from learnat.evaluation.run import ScoringRun
from learnat.evaluation.soft_f1 import SoftF1, soft_f1
from learnat.sql.execution import ExecutorPool
from tests.evaluation.toy import GOLD, toy

CELLS = st.none() | st.integers(-2, 2) | st.sampled_from([0.5, 1.0, "a", "b"])


def tables(width: int) -> st.SearchStrategy[list[tuple[Any, ...]]]:
    return st.lists(st.tuples(*[CELLS] * width), max_size=6)


@given(st.integers(1, 3).flatmap(tables))
def test_gold_against_gold_is_one(rows: list[tuple[Any, ...]]) -> None:
    assert soft_f1(rows, rows) == 1.0
    assert soft_f1(rows, rows * 2) == 1.0


@given(st.integers(1, 3).flatmap(tables), st.integers(1, 3).flatmap(tables))
def test_it_is_a_share(gold: list[tuple[Any, ...]], predicted: list[tuple[Any, ...]]) -> None:
    assert 0.0 <= soft_f1(gold, predicted) <= 1.0


@pytest.mark.parametrize(
    ("gold", "predicted", "expected"),
    [
        ([], [], 1.0),
        ([], [(1,)], 0.0),
        ([(1,)], [], 0.0),
        ([(1, 2)], [(2, 1)], 1.0),  # within a row columns may stand anywhere
        ([(1,), (2,)], [(2,), (1,)], 0.0),  # rows are matched by position
        ([(1,), (2,)], [(1,), (3,)], 0.5),
        ([(1, 2)], [(1, 3)], 0.5),
        ([(1,)], [(1, 2)], 2 / 3),  # one cell too many: precision 1/2
        ([(1,), (1,), (2,)], [(1,), (2,), (2,)], 1.0),  # duplicates are dropped
        ([(1,)], [(1,), (2,)], 2 / 3),
        ([(1,)], [(1.0,)], 1.0),
    ],
)
def test_worked_cases(gold: list[tuple[Any, ...]], predicted: list[tuple[Any, ...]], expected: float) -> None:
    assert soft_f1(gold, predicted) == pytest.approx(expected)


def test_what_fails_or_is_cut_scores_nothing(shop: Path) -> None:
    predictions = {
        0: "SELECT nothing FROM item",
        1: GOLD[1],
        2: GOLD[2],
    }
    with ExecutorPool(workers=1, max_rows=2) as pool:
        measured = SoftF1().measure(ScoringRun(toy(shop), "dev", predictions, pool))
    assert measured.values == (0.0, 0.0, 1.0)
    assert measured.truncated == 2  # gold has three rows: nothing is scored without being counted


def test_official_scores(learnat_data: Path, pool: ExecutorPool) -> None:
    official = json.loads((learnat_data / "parity/bird_superhero_qwen7b.json").read_text())
    bird = BirdBenchmark(learnat_data / "bird", samples=0, databases="superhero")
    run = ScoringRun(bird, "dev", {row["index"]: row["predicted"] for row in official}, pool)
    assert len(run.examples) == 129
    assert SoftF1().measure(run).values == pytest.approx([row["soft_f1"] for row in official], abs=1e-6)
    assert ExecutionAccuracy().measure(run).values == tuple(row["ex"] for row in official)


def test_official_gold_scores_one(learnat_data: Path, pool: ExecutorPool) -> None:
    bird = BirdBenchmark(learnat_data / "bird", samples=0, databases="superhero")
    run = ScoringRun(bird, "dev", {e.index: e.gold_sql for e in bird.examples("dev")}, pool)
    assert set(SoftF1().measure(run).values) == {1.0}
    assert set(ExecutionAccuracy().measure(run).values) == {1.0}
