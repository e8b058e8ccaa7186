"""VES and R-VES: brackets and outliers by the official rules, on worked figures and on real timings."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learnat.evaluation.efficiency import (
    RewardedEfficiencyScore,
    Stopwatch,
    ValidEfficiencyScore,
    mean_without_outliers,
    reward,
)
from learnat.evaluation.run import ScoringRun
from learnat.sql.execution import Address, ExecutorPool, Result
from tests.evaluation.toy import Folder, question

SLOW = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 40000) SELECT max(x) FROM c"
FAST = "SELECT 40000"


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.0, 0.0),
        (0.1, 0.25),
        (0.25, 0.5),
        (0.49, 0.5),
        (0.5, 0.75),
        (0.99, 0.75),
        (1.0, 1.0),
        (1.9, 1.0),
        (2.0, 1.25),
    ],
)
def test_the_brackets(ratio: float, expected: float) -> None:
    assert reward(ratio) == expected


@given(st.floats(0, 100))
def test_a_reward_never_falls_with_speed(ratio: float) -> None:
    assert reward(ratio) <= reward(ratio * 1.5)
    assert math.sqrt(reward(ratio)) <= math.sqrt(1.25)


def test_outliers_do_not_count() -> None:
    assert mean_without_outliers([1.0] * 99 + [1000.0]) == 1.0
    assert mean_without_outliers([2.0, 2.0]) == 2.0
    # Two values are never three deviations off their mean.
    assert mean_without_outliers([1.0, 3.0]) == 2.0


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=50))
def test_what_is_kept_lies_between_the_extremes(ratios: list[float]) -> None:
    assert min(ratios) * (1 - 1e-9) <= mean_without_outliers(ratios) <= max(ratios) * (1 + 1e-9)


def test_faster_is_better_and_wrong_is_nothing(shop: Path, pool: ExecutorPool) -> None:
    golds, predictions = [SLOW, FAST, SLOW, FAST], [FAST, SLOW, SLOW, "SELECT 1"]
    examples = [question(i, sql) for i, sql in enumerate(golds)]
    run = ScoringRun(Folder(shop, examples, "bird_set", ()), "dev", dict(enumerate(predictions)), pool)
    stopwatch = Stopwatch(iterations=5)
    ves, rewarded = ValidEfficiencyScore(stopwatch).measure(run), RewardedEfficiencyScore(stopwatch).measure(run)
    faster, slower, same, wrong = ves.values
    assert faster is not None and slower is not None and same is not None
    assert faster > 2 > same > 0.5 > slower > 0
    assert wrong == 0.0
    assert rewarded.values[0] == pytest.approx(math.sqrt(1.25))
    assert rewarded.values[1] == pytest.approx(0.5)
    assert rewarded.values[3] == 0.0
    assert ves.comparison == "bird_set, 5 interleaved timings"
    assert ves.control is not None and 0.5 < ves.control < 2
    # Both metrics look at one set of timings.
    assert stopwatch.timings(run) is stopwatch.timings(run)


def test_a_prediction_that_meets_the_limit_is_counted(shop: Path, pool: ExecutorPool) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    run = ScoringRun(Folder(shop, [question(0, FAST)], "bird_set", ()), "dev", {0: endless}, pool, timeout_s=0.3)
    measured = ValidEfficiencyScore(Stopwatch(iterations=2)).measure(run)
    assert (measured.values, measured.timed_out) == ((0.0,), 1)


def test_a_right_result_that_a_cap_cuts_is_timed(shop: Path) -> None:
    sql = "SELECT name FROM item"
    with ExecutorPool(workers=1, max_rows=2) as pool:
        run = ScoringRun(Folder(shop, [question(0, sql)], "bird_set", ()), "dev", {0: f"{sql} "}, pool)
        measured = ValidEfficiencyScore(Stopwatch(iterations=2)).measure(run)
    assert measured.values[0] is not None and measured.values[0] > 0
    assert (measured.timed_out, measured.truncated) == (0, 0)


def test_equal_queries_are_timed_once_and_so_never_differ(shop: Path, pool: ExecutorPool) -> None:
    stopwatch = Stopwatch(iterations=2)
    benchmark = Folder(shop, [question(0, SLOW), question(1, FAST)], "bird_set", ())
    first, second = (ScoringRun(benchmark, "dev", {0: SLOW, 1: one}, pool) for one in (f"{FAST} ", f" {FAST}"))
    values = [[timing.ratios for timing in stopwatch.timings(run)] for run in (first, second)]
    assert values[0][0] is values[1][0]
    assert values[0][1] is not values[1][1]


class Recording(ExecutorPool):
    """A pool that keeps what it ran, and says how long that is to have taken."""

    def __init__(self, *seconds: float) -> None:
        super().__init__(workers=1)
        self.ran: list[str] = []
        self.seconds = seconds

    def run(self, path: Address, sql: str, *rest: Any) -> Result:
        self.ran.append(sql)
        return replace(super().run(path, sql, *rest), seconds=self.seconds[len(self.ran) - 1])


def test_each_query_always_follows_the_other_and_ran_once_before_it_is_timed(shop: Path) -> None:
    """One that follows itself finds its pages cached: of two queries of equal cost each would then look faster."""
    other = f"{FAST} "
    with Recording(9.0, 9.0, 3.0, 1.0, 2.0, 4.0) as pool:
        run = ScoringRun(Folder(shop, [question(0, FAST)], "bird_set", ()), "dev", {0: other}, pool)
        run.results("bird_set")
        pool.ran.clear()
        measured = ValidEfficiencyScore(Stopwatch(iterations=2)).measure(run)
    assert pool.ran == [FAST, other] * 3
    assert measured.values == (pytest.approx(math.sqrt((3 / 1 + 2 / 4) / 2)),)
    assert measured.control == pytest.approx(math.sqrt(3 / 2))


class Flaky(ExecutorPool):
    """A pool whose statements fail from a given one on."""

    def __init__(self, after: int, **failure: Any) -> None:
        super().__init__(workers=1)
        self.after, self.failure = after, failure

    def run(self, *query: Any, **options: Any) -> Result:
        self.after -= 1
        result = super().run(*query, **options)
        return replace(result, rows=[], **self.failure) if self.after < 0 else result


@pytest.mark.parametrize(
    ("failure", "timed_out"), [({"error": "time limit", "timed_out": True}, 1), ({"error": "out of memory"}, 0)]
)
def test_a_query_that_fails_in_a_turn_earns_nothing(shop: Path, failure: dict[str, Any], timed_out: int) -> None:
    with Flaky(after=3, **failure) as pool:
        run = ScoringRun(Folder(shop, [question(0, FAST)], "bird_set", ()), "dev", {0: f"{FAST} "}, pool)
        measured = ValidEfficiencyScore(Stopwatch(iterations=5)).measure(run)
    assert (measured.values, measured.timed_out) == ((0.0,), timed_out)
